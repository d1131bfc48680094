#include "plugins/s3/aws/service_error.hpp"

#include <pugixml.hpp>

namespace nbdstack {

ServiceError parse_service_error(const std::string& text) {
  pugi::xml_document document;
  if (!document.load_buffer(text.data(), text.size())) return {};
  return service_error_in(document.child("Error"));
}

ServiceError service_error_in(const pugi::xml_node& element) {
  return {.code = element.child_value("Code"),
          .message = element.child_value("Message"),
          .endpoint = element.child_value("Endpoint"),
          .region = element.child_value("Region")};
}

}  // namespace nbdstack
