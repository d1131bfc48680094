#include "plugins/s3/credential_http.hpp"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <chrono>
#include <memory>
#include <string_view>

#include "common/error.hpp"
#include "plugins/s3/credential_document.hpp"
#include "plugins/s3/retry.hpp"
#include "plugins/s3/s3_answer.hpp"

namespace nbdstack {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr HttpLimits kLimits{.connect = milliseconds(1'000), .whole = milliseconds(3'000)};
// Of the first question, which a machine outside of EC2 asks in vain.
constexpr HttpLimits kTokenLimits{.connect = milliseconds(1'000), .whole = milliseconds(1'200)};
constexpr RetryPolicy kPatience{
    .retries = 2, .timeout = seconds(10), .first_pause = milliseconds(200)};
constexpr unsigned kTokenAttempts = 2;

constexpr std::string_view kRolesPath = "/latest/meta-data/iam/security-credentials/";

HttpRequest get(const std::string& url, HeaderList headers) {
  return {.method = "GET", .url = url, .headers = std::move(headers), .body = {}, .buffer = {}};
}

// The answer to `request`, with any status that will not pass by itself.
HttpResponse ask(const HttpRequest& request, const Surroundings& surroundings,
                 const std::string& origin) {
  HttpResponse response;
  Retrier retrier(kPatience, *surroundings.clock, /*seed=*/1);
  retrier.run(origin, [&](const Attempt& /*number*/) -> std::optional<Failure> {
    const HttpOutcome outcome = surroundings.exchange(request, kLimits);
    if (const auto* failure = std::get_if<TransportFailure>(&outcome)) return failure_of(*failure);
    response = std::get<HttpResponse>(outcome);
    if (response.status == 429 || response.status >= 500) return unexpected(response);
    return std::nullopt;
  });
  return response;
}

Credentials credentials_in(const HttpResponse& response, const std::string& origin) {
  if (response.status != 200) {
    const std::string reason = parse_failure_document(response.text);
    throw Error(EACCES, fmt::format("{} answered {}{}{}", origin, response.status,
                                    reason.empty() ? "" : ": ", reason));
  }
  return parse_credential_document(response.text, CredentialDocument::metadata, origin);
}

// The scheme and the host of an URL without a user; both empty for what is none.
std::pair<std::string, std::string> scheme_and_host(const std::string& url) {
  const std::unique_ptr<CURLU, decltype(&curl_url_cleanup)> parsed(curl_url(), curl_url_cleanup);
  if (parsed == nullptr || curl_url_set(parsed.get(), CURLUPART_URL, url.c_str(), 0) != CURLUE_OK) {
    return {};
  }
  const auto part = [&](CURLUPart which) {
    char* text = nullptr;
    if (curl_url_get(parsed.get(), which, &text, 0) != CURLUE_OK) return std::string();
    std::string copy = text;
    curl_free(text);
    return copy;
  };
  if (!part(CURLUPART_USER).empty()) return {};
  return {part(CURLUPART_SCHEME), part(CURLUPART_HOST)};
}

// This machine, or one of the addresses at which ECS and EKS answer.
bool is_trusted_without_tls(const std::string& host) {
  if (host == "localhost") return true;
  in_addr v4{};
  if (inet_pton(AF_INET, host.c_str(), &v4) == 1) {
    const std::uint32_t address = ntohl(v4.s_addr);
    constexpr std::uint32_t kEcs = 0xa9feaa02;  // 169.254.170.2
    constexpr std::uint32_t kEks = 0xa9feaa17;  // 169.254.170.23
    return address >> 24U == 127 || address == kEcs || address == kEks;
  }
  if (!host.starts_with('[') || !host.ends_with(']')) return false;
  in6_addr v6{};
  if (inet_pton(AF_INET6, host.substr(1, host.size() - 2).c_str(), &v6) != 1) return false;
  in6_addr eks{};
  inet_pton(AF_INET6, "fd00:ec2::23", &eks);
  return IN6_IS_ADDR_LOOPBACK(&v6) ||
         std::equal(std::begin(v6.s6_addr), std::end(v6.s6_addr), std::begin(eks.s6_addr));
}

// What the container's endpoint wants to see as proof; empty: nothing.
std::string container_token(const Surroundings& surroundings) {
  constexpr const char* kFileVariable = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";
  const std::string path = surroundings.variable(kFileVariable);
  std::string token = surroundings.variable("AWS_CONTAINER_AUTHORIZATION_TOKEN");
  if (!path.empty()) {
    const auto text = surroundings.read_file(path);
    if (!text) throw Error(ENOENT, fmt::format("{}: there is no {}", kFileVariable, path));
    token = text->substr(0, text->find_last_not_of("\r\n") + 1);
  }
  const auto is_control = [](unsigned char c) { return std::iscntrl(c) != 0; };
  if (std::any_of(token.begin(), token.end(), is_control)) {
    throw Error(EINVAL, fmt::format("{} holds what no HTTP header may hold",
                                    path.empty() ? "AWS_CONTAINER_AUTHORIZATION_TOKEN" : path));
  }
  return token;
}

std::string metadata_endpoint(const Surroundings& surroundings) {
  std::string url = surroundings.variable("AWS_EC2_METADATA_SERVICE_ENDPOINT");
  while (url.ends_with('/')) url.pop_back();
  if (!url.empty()) return url;
  const std::string mode = surroundings.variable("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE");
  return mode == "IPv6" || mode == "ipv6" ? "http://[fd00:ec2::254]" : "http://169.254.169.254";
}

// The secret without which the metadata service of version 2 answers nothing. Empty, and the reason
// in `why_not`, where nobody gives one.
std::string metadata_token(const std::string& endpoint, const Surroundings& surroundings,
                           std::string& why_not) {
  const HttpRequest request{.method = "PUT",
                            .url = endpoint + "/latest/api/token",
                            .headers = {{"x-aws-ec2-metadata-token-ttl-seconds", "21600"}},
                            .body = {},
                            .buffer = {}};
  for (unsigned attempt = 1; attempt <= kTokenAttempts; ++attempt) {
    const HttpOutcome outcome = surroundings.exchange(request, kTokenLimits);
    if (const auto* failure = std::get_if<TransportFailure>(&outcome)) {
      why_not = failure->message;
      continue;
    }
    const auto& response = std::get<HttpResponse>(outcome);
    if (response.status == 200 && !response.text.empty()) return response.text;
    why_not = fmt::format("it gives no token: {}", response.status);
    if (response.status < 500) return {};
  }
  return {};
}

}  // namespace

std::optional<Credentials> credentials_of_container(const Surroundings& surroundings) {
  const std::string relative = surroundings.variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
  const std::string full = surroundings.variable("AWS_CONTAINER_CREDENTIALS_FULL_URI");
  if (relative.empty() && full.empty()) return std::nullopt;
  const std::string url = relative.empty() ? full : "http://169.254.170.2" + relative;
  const std::string origin =
      fmt::format("the container's credentials endpoint ({})",
                  relative.empty() ? "AWS_CONTAINER_CREDENTIALS_FULL_URI"
                                   : "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
  const auto [scheme, host] = scheme_and_host(url);
  if (scheme != "https" && !(scheme == "http" && is_trusted_without_tls(host))) {
    throw Error(EINVAL, fmt::format("{}: the host \"{}\" is not to be trusted: the URL must be "
                                    "https, or http to this machine, 169.254.170.2, "
                                    "169.254.170.23 or [fd00:ec2::23]",
                                    origin, quotable(host)));
  }
  HeaderList headers{{"accept", "application/json"}};
  const std::string token = container_token(surroundings);
  if (!token.empty()) headers.emplace_back("authorization", token);
  return credentials_in(ask(get(url, headers), surroundings, origin), origin);
}

std::optional<Credentials> credentials_of_instance(const Surroundings& surroundings,
                                                   std::string& why_not) {
  std::string disabled = surroundings.variable("AWS_EC2_METADATA_DISABLED");
  std::transform(disabled.begin(), disabled.end(), disabled.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (disabled == "true") {
    why_not = "switched off by AWS_EC2_METADATA_DISABLED";
    return std::nullopt;
  }
  const std::string endpoint = metadata_endpoint(surroundings);
  const std::string token = metadata_token(endpoint, surroundings, why_not);
  if (token.empty()) return std::nullopt;
  const HeaderList headers{{"x-aws-ec2-metadata-token", token}};
  const std::string origin = fmt::format("the EC2 metadata service at {}", endpoint);
  const std::string roles_url = endpoint + std::string(kRolesPath);
  const HttpResponse roles = ask(get(roles_url, headers), surroundings, origin);
  const std::string role = roles.text.substr(0, roles.text.find_first_of("\r\n"));
  if (roles.status == 404 || (roles.status == 200 && role.empty())) {
    why_not = "this instance has no role";
    return std::nullopt;
  }
  if (roles.status != 200) {
    throw Error(EACCES, fmt::format("{} answered {} when asked for the instance's role", origin,
                                    roles.status));
  }
  return credentials_in(ask(get(roles_url + uri_encode(role), headers), surroundings, origin),
                        origin);
}

}  // namespace nbdstack
