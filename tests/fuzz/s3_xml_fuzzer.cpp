// XML answers of a service (s3_xml.hpp), and what makes a page of a listing fit its question
// (list_page.hpp).
//
//   any text            errors, listings of objects and of versions, and deletions are parsed, or
//                       not; what comes out is no longer than what went in, of which a byte may be
//                       two in UTF-8
//   a page that fits    its keys begin as asked, ascend, and are as many as it says
//   any keys            come out of a listing as they went in, encoded or not, and stand in a
//                       request for their deletion as they are, or are refused
//   any versions        come out of their listing as they went in, in the same order: each says
//                       whether it is the latest one, and whether it is a marker; and where the
//                       next page begins is said where there is one, and nowhere else
#include <algorithm>
#include <numeric>
#include <pugixml.hpp>
#include <sstream>

#include "plugins/s3/aws/signing.hpp"
#include "plugins/s3/store/service/list_page.hpp"
#include "plugins/s3/store/service/s3_xml.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace nbdstack::fuzz {
namespace {

void check_page(const ListPage& page, std::size_t text_bytes) {
  const std::size_t keys_bytes = std::accumulate(
      page.objects.begin(), page.objects.end(), std::size_t{0},
      [](std::size_t sum, const ListedObject& each) { return sum + each.key.size(); });
  must(keys_bytes <= 2 * text_bytes, "keys are not longer than the page they come from");
  const AskedKeys asked{.prefix = page.prefix.value_or(""), .after = ""};
  if (PageCheck(asked, ListOrder::by_bytes).fault_of(page).has_value()) return;
  std::string former = asked.after;
  for (const ListedObject& each : page.objects) {
    must(each.key.starts_with(asked.prefix), "a page that fits has keys of its prefix only");
    must(each.key > former, "the keys of a page that fits ascend");
    former = each.key;
  }
  must(!page.truncated || !page.next_token.empty(), "a page that fits says how to go on");
  // Some services count prefixes, and some do not.
  const std::size_t listed = page.objects.size() + page.common_prefixes.size();
  const std::size_t announced = page.key_count.value_or(listed);
  must(announced == listed || announced == page.objects.size(),
       "a page that fits has as many keys as it says");
}

void check_version_page(const VersionPage& page, std::size_t text_bytes) {
  const std::size_t names_bytes = std::accumulate(
      page.versions.begin(), page.versions.end(), page.next_key.size() + page.next_version.size(),
      [](std::size_t sum, const ListedVersion& each) {
        return sum + each.key.size() + each.version_id.size();
      });
  must(names_bytes <= 2 * text_bytes, "versions are not longer than the page they come from");
  must(page.truncated || (page.next_key.empty() && page.next_version.empty()),
       "a last page has no next one");
}

std::string text_of(const pugi::xml_document& document) {
  std::ostringstream text;
  document.save(text, "", pugi::format_raw);
  return std::move(text).str();
}

// As a service writes them.
std::string listing_of(const std::vector<std::string>& keys, bool encoded) {
  pugi::xml_document document;
  pugi::xml_node root = document.append_child("ListBucketResult");
  if (encoded) root.append_child("EncodingType").text() = "url";
  for (const std::string& key : keys) {
    root.append_child("Contents").append_child("Key").text() =
        (encoded ? uri_encode(key) : key).c_str();
  }
  return text_of(document);
}

void check_keys(const std::vector<std::string>& keys) {
  for (const bool encoded : {false, true}) {
    const auto page = parse_list_page(listing_of(keys, encoded));
    must(page.has_value() && page->objects.size() == keys.size(), "a listing has all its keys");
    for (std::size_t i = 0; i < keys.size(); ++i) {
      must(page->objects[i].key == keys[i], "a listing shows keys as they are");
    }
  }
  std::vector<Removal> removals;
  for (const std::string& key : keys) removals.push_back({.key = key, .etag = key});
  const std::string request = delete_request(removals);
  pugi::xml_document document;
  must(document.load_string(request.c_str(), pugi::parse_default | pugi::parse_ws_pcdata_single),
       "a request to delete is XML");
  auto key = keys.begin();
  for (const pugi::xml_node& node : document.child("Delete").children("Object")) {
    must(key != keys.end() && node.child_value("Key") == *key && node.child_value("ETag") == *key,
         "a request to delete names the keys that are meant");
    ++key;
  }
  must(key == keys.end(), "a request to delete names all keys");
}

// As a service writes them: `next`, if not null, is what the page after this one follows.
std::string versions_of(const std::vector<ListedVersion>& versions, bool encoded,
                        const ListedVersion* next) {
  pugi::xml_document document;
  pugi::xml_node root = document.append_child("ListVersionsResult");
  const auto sent = [encoded](const std::string& key) { return encoded ? uri_encode(key) : key; };
  if (encoded) root.append_child("EncodingType").text() = "url";
  root.append_child("IsTruncated").text() = next != nullptr;
  if (next != nullptr) {
    root.append_child("NextKeyMarker").text() = sent(next->key).c_str();
    root.append_child("NextVersionIdMarker").text() = next->version_id.c_str();
  }
  for (const ListedVersion& each : versions) {
    pugi::xml_node node = root.append_child(each.is_marker ? "DeleteMarker" : "Version");
    node.append_child("Key").text() = sent(each.key).c_str();
    node.append_child("VersionId").text() = each.version_id.c_str();
    node.append_child("IsLatest").text() = each.is_latest;
  }
  return text_of(document);
}

bool is_same(const ListedVersion& one, const ListedVersion& other) {
  return one.key == other.key && one.version_id == other.version_id &&
         one.is_latest == other.is_latest && one.is_marker == other.is_marker;
}

// Each name is a key, and the one before it the id of its version.
void check_versions(const std::vector<std::string>& names) {
  std::vector<ListedVersion> versions;
  for (std::size_t i = 0; i < names.size(); ++i) {
    versions.push_back({.key = names[i],
                        .version_id = names[(i + names.size() - 1) % names.size()],
                        .is_latest = names[i].size() % 2 == 0,
                        .is_marker = names[i].size() % 3 == 0});
  }
  for (const bool encoded : {false, true}) {
    for (const bool is_last : {false, true}) {
      const ListedVersion* const next = is_last || versions.empty() ? nullptr : &versions.back();
      const std::string text = versions_of(versions, encoded, next);
      const auto page = parse_version_page(text);
      must(page.has_value() && std::equal(page->versions.begin(), page->versions.end(),
                                          versions.begin(), versions.end(), is_same),
           "a listing shows versions as they are");
      must(page->truncated == (next != nullptr), "a listing says whether more follows");
      must(next == nullptr ||
               (page->next_key == next->key && page->next_version == next->version_id),
           "a listing says behind which version the next page begins");
      must(!parse_list_page(text).has_value(), "versions are no objects");
    }
  }
}

// What XML would make another name of.
constexpr std::string_view kLost("\0\r", 2);

// Those that a listing can name in both ways.
std::vector<std::string> keys_in(const std::string& text) {
  std::vector<std::string> keys;
  for (std::string& line : split(text, "\n")) {
    if (!line.empty() && line.find_first_of(kLost) == std::string::npos)
      keys.push_back(std::move(line));
  }
  return keys;
}

}  // namespace
}  // namespace nbdstack::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace nbdstack;
  const std::string text = fuzz::text_of({data, size});
  const ServiceError error = parse_service_error(text);
  fuzz::must(error.code.size() + error.message.size() <= 2 * text.size(),
             "an error quotes its text");
  if (const auto page = parse_list_page(text)) fuzz::check_page(*page, text.size());
  if (const auto page = parse_version_page(text)) fuzz::check_version_page(*page, text.size());
  if (const auto failures = parse_delete_result(text)) {
    fuzz::must(failures->size() <= text.size(), "failures are not more than the text has room for");
  }
  const std::vector<std::string> names = fuzz::keys_in(text);
  fuzz::check_keys(names);
  fuzz::check_versions(names);
  const std::vector<Removal> removal{{.key = text, .etag = {}}};
  fuzz::must(fuzz::succeeds([&] { delete_request(removal); }) ==
                 (text.find_first_of(fuzz::kLost) == std::string::npos),
             "a name that would be lost is refused");
  return 0;
}
