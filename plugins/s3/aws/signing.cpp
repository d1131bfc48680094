#include "plugins/s3/aws/signing.hpp"

#include <fmt/core.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <cctype>
#include <ctime>
#include <map>
#include <span>

#include "common/error.hpp"
#include "common/hash/digest.hpp"
#include "common/utc_text.hpp"

namespace nbdstack {
namespace {

constexpr std::string_view kAlgorithm = "AWS4-HMAC-SHA256";

bool is_unreserved(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '.' || c == '_' || c == '~';
}

std::string percent_encode(std::string_view text, bool keep_slash) {
  constexpr char kDigits[] = "0123456789ABCDEF";
  std::string encoded;
  encoded.reserve(text.size());
  for (const char c : text) {
    if (is_unreserved(c) || (keep_slash && c == '/')) {
      encoded += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      encoded += {'%', kDigits[byte >> 4U], kDigits[byte & 0xfU]};
    }
  }
  return encoded;
}

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

Sha256Digest hmac_sha256(std::span<const std::byte> key, std::string_view text) {
  Sha256Digest digest{};
  unsigned length = 0;
  const std::span<const std::byte> data = bytes_of(text);
  if (HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
           reinterpret_cast<const unsigned char*>(data.data()), data.size(),
           reinterpret_cast<unsigned char*>(digest.data()), &length) == nullptr ||
      length != digest.size()) {
    throw Error(ENOTSUP, "OpenSSL does not provide HMAC-SHA256");
  }
  return digest;
}

// Trims the ends, and makes one blank of each run of blanks within.
std::string canonical_value(std::string_view value) {
  std::string canonical;
  for (const char c : value) {
    const bool blank = c == ' ' || c == '\t';
    if (blank && (canonical.empty() || canonical.back() == ' ')) continue;
    canonical += blank ? ' ' : c;
  }
  if (canonical.ends_with(' ')) canonical.pop_back();
  return canonical;
}

// Maps lower-case names to values; values of a repeated name are joined by commas in their order.
std::map<std::string, std::string> canonical_headers(const HeaderList& headers) {
  std::map<std::string, std::string> canonical;
  for (const auto& [name, value] : headers) {
    std::string lower = name;
    std::transform(lower.begin(), lower.end(), lower.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    const auto [place, is_new] = canonical.try_emplace(lower, canonical_value(value));
    if (!is_new) place->second += "," + canonical_value(value);
  }
  return canonical;
}

std::string signed_header_names(const HeaderList& headers) {
  std::string names;
  for (const auto& [name, value] : canonical_headers(headers)) {
    if (!names.empty()) names += ';';
    names += name;
  }
  return names;
}

}  // namespace

std::string uri_encode(std::string_view text) {
  return percent_encode(text, /*keep_slash=*/false);
}

std::string encode_path(std::string_view path) {
  return percent_encode(path, /*keep_slash=*/true);
}

std::string encode_query(const QueryList& query) {
  // Sorted by the encoded names, then by the encoded values.
  QueryList encoded;
  for (const auto& [name, value] : query) encoded.emplace_back(uri_encode(name), uri_encode(value));
  std::sort(encoded.begin(), encoded.end());
  std::string text;
  for (const auto& [name, value] : encoded) {
    if (!text.empty()) text += '&';
    text += fmt::format("{}={}", name, value);
  }
  return text;
}

std::string canonical_request(const SignableRequest& request) {
  std::string text = fmt::format("{}\n{}\n{}\n", request.method, encode_path(request.path),
                                 encode_query(request.query));
  for (const auto& [name, value] : canonical_headers(request.headers)) {
    text += fmt::format("{}:{}\n", name, value);
  }
  text += fmt::format("\n{}\n{}", signed_header_names(request.headers), request.payload_sha256);
  return text;
}

std::string authorization(const SignableRequest& request, const Credentials& credentials,
                          const SigningScope& scope, WallTime time) {
  const std::string stamp = basic_utc_text(time);
  const std::string date = stamp.substr(0, 8);
  const std::string scope_text =
      fmt::format("{}/{}/{}/aws4_request", date, scope.region, scope.service);
  const std::string to_sign = fmt::format("{}\n{}\n{}\n{}", kAlgorithm, stamp, scope_text,
                                          to_hex(sha256(bytes_of(canonical_request(request)))));

  const std::string secret = "AWS4" + credentials.secret_key;
  const Sha256Digest date_key = hmac_sha256(bytes_of(secret), date);
  const Sha256Digest region_key = hmac_sha256(date_key, scope.region);
  const Sha256Digest service_key = hmac_sha256(region_key, scope.service);
  const Sha256Digest signing_key = hmac_sha256(service_key, "aws4_request");
  return fmt::format("{} Credential={}/{}, SignedHeaders={}, Signature={}", kAlgorithm,
                     credentials.access_key, scope_text, signed_header_names(request.headers),
                     to_hex(hmac_sha256(signing_key, to_sign)));
}

HeaderList signed_headers(SignableRequest request, const Credentials& credentials,
                          const SigningScope& scope, WallTime time) {
  request.headers.emplace_back("x-amz-content-sha256", request.payload_sha256);
  request.headers.emplace_back("x-amz-date", basic_utc_text(time));
  if (!credentials.session_token.empty()) {
    request.headers.emplace_back(scope.token_header, credentials.session_token);
  }
  std::string value = authorization(request, credentials, scope, time);
  request.headers.emplace_back("authorization", std::move(value));
  return std::move(request.headers);
}

}  // namespace nbdstack
