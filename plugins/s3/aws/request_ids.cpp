#include "plugins/s3/aws/request_ids.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <pugixml.hpp>

#include "plugins/s3/aws/service_error.hpp"

namespace nbdstack {
namespace {

constexpr std::size_t kId_bytes_max = 128;  // x-amz-id-2 has some 80

// The ids' headers, in the order of the message. STS has a header of its own, and no second id.
struct Id {
  const char* header;
  const char* element;
};
constexpr std::array<Id, 2> kIds{{{"x-amz-request-id", "RequestId"}, {"x-amz-id-2", "HostId"}}};
constexpr const char* kStsHeader = "x-amzn-requestid";

std::string cleaned(std::string_view id) {
  std::string text(id.substr(0, kId_bytes_max));
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c <= ' ' || c > '~'; }, '?');
  return id.size() > kId_bytes_max ? text + "..." : text;
}

void add(std::string& ids, std::string_view name, std::string_view id) {
  if (id.empty()) return;
  ids += fmt::format("{}{}: {}", ids.empty() ? "" : ", ", name, cleaned(id));
}

// Finds S3's <Error>, also inside the <ErrorResponse> of AWS's other services.
pugi::xml_node error_node(pugi::xml_document& document, std::string_view text) {
  if (text.size() > kErrorDocument_bytes_max) return {};
  document.load_buffer(text.data(), text.size());
  const pugi::xml_node error = document.child("Error");
  return error ? error : document.child("ErrorResponse");
}

}  // namespace

std::string request_ids_of(const HttpResponse& response, std::string_view body) {
  std::string ids;
  pugi::xml_document document;
  const pugi::xml_node error = error_node(document, body.empty() ? response.text : body);
  for (const auto& [header, element] : kIds) {
    const auto told = response.header(header);
    if (told.has_value()) {
      add(ids, header, *told);
    } else {
      add(ids, element, error.child_value(element));
    }
  }
  if (ids.empty()) add(ids, kStsHeader, response.header(kStsHeader).value_or(""));
  return ids;
}

}  // namespace nbdstack
