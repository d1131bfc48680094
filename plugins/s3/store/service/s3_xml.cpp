#include "plugins/s3/store/service/s3_xml.hpp"

#include <fmt/core.h>

#include <cstring>
#include <pugixml.hpp>
#include <sstream>
#include <string_view>
#include <utility>

#include "common/error.hpp"
#include "common/quoted_name.hpp"

namespace nbdstack {
namespace {

// Nothing is trimmed, because keys may begin or end with blanks.
constexpr unsigned kParse = pugi::parse_default | pugi::parse_ws_pcdata_single;

// Returns the root element, if `text` is XML and its root has that name.
pugi::xml_node load(pugi::xml_document& document, const std::string& text, const char* root) {
  if (!document.load_buffer(text.data(), text.size(), kParse)) return {};
  return document.child(root);
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// encoding-type=url encodes like HTML forms: '+' is a blank.
std::string decode_url(std::string_view text) {
  std::string decoded;
  decoded.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool escaped = text[i] == '%' && i + 2 < text.size() && hex_digit(text[i + 1]) >= 0 &&
                         hex_digit(text[i + 2]) >= 0;
    if (escaped) {
      decoded += static_cast<char>(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2]));
      i += 2;
    } else {
      decoded += text[i] == '+' ? ' ' : text[i];
    }
  }
  return decoded;
}

}  // namespace

std::optional<ListPage> parse_list_page(const std::string& text) {
  pugi::xml_document document;
  const pugi::xml_node root = load(document, text, "ListBucketResult");
  if (!root) return std::nullopt;
  const bool encoded = std::strcmp(root.child_value("EncodingType"), "url") == 0;
  ListPage page;
  for (const pugi::xml_node& node : root.children("Contents")) {
    const char* key = node.child_value("Key");
    page.objects.push_back({.key = encoded ? decode_url(key) : std::string(key),
                            .size_bytes = node.child("Size").text().as_ullong(),
                            .etag = node.child_value("ETag")});
  }
  for (const pugi::xml_node& node : root.children("CommonPrefixes")) {
    const char* prefix = node.child_value("Prefix");
    page.common_prefixes.push_back(encoded ? decode_url(prefix) : std::string(prefix));
  }
  page.truncated = root.child("IsTruncated").text().as_bool();
  if (page.truncated) page.next_token = root.child_value("NextContinuationToken");
  if (const pugi::xml_node count = root.child("KeyCount"))
    page.key_count = count.text().as_ullong();
  if (const pugi::xml_node prefix = root.child("Prefix")) {
    page.prefix_as_sent = prefix.child_value();
    page.prefix = encoded ? decode_url(page.prefix_as_sent) : page.prefix_as_sent;
  }
  return page;
}

std::optional<VersionPage> parse_version_page(const std::string& text) {
  pugi::xml_document document;
  const pugi::xml_node root = load(document, text, "ListVersionsResult");
  if (!root) return std::nullopt;
  const bool encoded = std::strcmp(root.child_value("EncodingType"), "url") == 0;
  const auto key_in = [&](const pugi::xml_node& node, const char* name) {
    const char* key = node.child_value(name);
    return encoded ? decode_url(key) : std::string(key);
  };
  VersionPage page;
  for (const pugi::xml_node& node : root.children()) {
    const bool is_marker = std::strcmp(node.name(), "DeleteMarker") == 0;
    if (!is_marker && std::strcmp(node.name(), "Version") != 0) continue;
    page.versions.push_back({.key = key_in(node, "Key"),
                             .version_id = node.child_value("VersionId"),
                             .is_latest = node.child("IsLatest").text().as_bool(),
                             .is_marker = is_marker});
  }
  page.truncated = root.child("IsTruncated").text().as_bool();
  if (page.truncated) {
    page.next_key = key_in(root, "NextKeyMarker");
    page.next_version = root.child_value("NextVersionIdMarker");
  }
  return page;
}

namespace {

// XML cannot express NUL, and reads a raw CR as LF, which pugixml does not escape.
void check_writable(const std::string& text, const Removal& removal) {
  constexpr std::string_view kLost("\0\r", 2);
  if (text.find_first_of(kLost) == std::string::npos) return;
  throw Error(EINVAL, fmt::format("{}: a request to delete cannot name an object with a NUL or a "
                                  "carriage return in its name",
                                  quoted_name(removal.key)));
}

}  // namespace

std::string delete_request(std::span<const Removal> removals) {
  pugi::xml_document document;
  pugi::xml_node root = document.append_child("Delete");
  root.append_attribute("xmlns") = "http://s3.amazonaws.com/doc/2006-03-01/";
  for (const Removal& each : removals) {
    check_writable(each.key, each);
    check_writable(each.etag, each);
    check_writable(each.version_id, each);
    pugi::xml_node object = root.append_child("Object");
    object.append_child("Key").text() = each.key.c_str();
    if (!each.version_id.empty()) {
      object.append_child("VersionId").text() = each.version_id.c_str();
    }
    if (!each.etag.empty()) object.append_child("ETag").text() = each.etag.c_str();
  }
  root.append_child("Quiet").text() = true;
  std::ostringstream text;
  document.save(text, "", pugi::format_raw);
  return std::move(text).str();
}

std::optional<std::vector<RemovalFailure>> parse_delete_result(const std::string& text) {
  pugi::xml_document document;
  const pugi::xml_node root = load(document, text, "DeleteResult");
  if (!root) return std::nullopt;
  std::vector<RemovalFailure> failures;
  for (const pugi::xml_node& node : root.children("Error")) {
    failures.push_back({node.child_value("Key"), service_error_in(node)});
  }
  return failures;
}

}  // namespace nbdstack
