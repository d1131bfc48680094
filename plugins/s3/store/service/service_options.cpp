#include "plugins/s3/store/service/service_options.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <string_view>

#include "common/error.hpp"

namespace nbdstack {
namespace {

bool is_token(std::string_view text) {
  constexpr std::string_view kOthers = "!#$%&'*+-.^_`|~";
  return !text.empty() && std::all_of(text.begin(), text.end(), [&](unsigned char c) {
    return std::isalnum(c) != 0 || kOthers.find(static_cast<char>(c)) != std::string_view::npos;
  });
}

bool may_stand_in_header(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](unsigned char c) { return c >= 0x20 && c != 0x7f; });
}

void add(HeaderList& headers, const char* parameter, const char* name, const std::string& value) {
  if (value.empty()) return;
  if (!may_stand_in_header(value)) {
    throw Error(EINVAL,
                fmt::format("{}: its value has characters that no header may have", parameter));
  }
  headers.emplace_back(name, value);
}

}  // namespace

HeaderList KeepingOptions::block_headers() const {
  HeaderList headers;
  add(headers, "storage-class", "x-amz-storage-class", storage_class);
  return headers;
}

HeaderList KeepingOptions::put_headers() const {
  const bool kms = sse.starts_with("aws:kms");
  if (!sse.empty() && sse != "AES256" && sse != "aws:kms" && sse != "aws:kms:dsse") {
    throw Error(EINVAL, fmt::format("sse={} is none of AES256, aws:kms, aws:kms:dsse", sse));
  }
  if (!sse_kms_key.empty() && !kms) {
    throw Error(EINVAL, "sse-kms-key needs sse=aws:kms");
  }
  HeaderList headers;
  add(headers, "sse", "x-amz-server-side-encryption", sse);
  add(headers, "sse-kms-key", "x-amz-server-side-encryption-aws-kms-key-id", sse_kms_key);
  add(headers, "acl", "x-amz-acl", acl);
  return headers;
}

HeaderList KeepingOptions::session_headers() const {
  if (!storage_class.empty() && storage_class != "EXPRESS_ONEZONE") {
    throw Error(EINVAL,
                fmt::format("storage-class={}: a directory bucket has EXPRESS_ONEZONE alone",
                            storage_class));
  }
  if (!acl.empty()) throw Error(EINVAL, "acl: a directory bucket has no ACLs");
  if (sse == "aws:kms:dsse") throw Error(EINVAL, "sse=aws:kms:dsse: no directory bucket has it");
  KeepingOptions encryption;
  encryption.sse = sse;
  encryption.sse_kms_key = sse_kms_key;
  return encryption.put_headers();
}

Header parse_header(const std::string& text) {
  constexpr std::array<std::string_view, 7> kOurs{
      "host",       "authorization", "content-length",      "content-md5",
      "x-amz-date", "range",         "x-amz-content-sha256"};
  const std::size_t colon = text.find(':');
  std::string name = text.substr(0, colon);
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (colon == std::string::npos || !is_token(name) || !may_stand_in_header(text)) {
    throw Error(EINVAL, fmt::format("header='{}' is no header: it must be NAME:VALUE", text));
  }
  if (std::find(kOurs.begin(), kOurs.end(), name) != kOurs.end()) {
    throw Error(EINVAL, fmt::format("header: {} is set by the plugin itself", name));
  }
  std::size_t first = colon + 1;
  while (first < text.size() && text[first] == ' ') ++first;
  std::size_t end = text.size();
  while (end > first && text[end - 1] == ' ') --end;
  return {name, text.substr(first, end - first)};
}

}  // namespace nbdstack
