#include "plugins/s3/aws/credential_http.hpp"

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
#include "common/parse_number.hpp"
#include "common/quoted_name.hpp"
#include "plugins/s3/aws/credential_document.hpp"
#include "plugins/s3/aws/request_ids.hpp"
#include "plugins/s3/aws/retry.hpp"
#include "plugins/s3/aws/signing.hpp"
#include "plugins/s3/aws/unexpected_answer.hpp"

namespace nbdstack {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// The timeouts and retries of a request.
struct Patience {
  ExchangeOptions options{
      .connect_timeout = milliseconds(1'000), .timeout = milliseconds(3'000), .is_direct = true};
  RetryPolicy policy{.retries = 2, .timeout = seconds(10), .first_pause = milliseconds(200)};
  // Outside of EC2 nothing answers the first request to the metadata service.
  ExchangeOptions token_options{
      .connect_timeout = milliseconds(1'000), .timeout = milliseconds(1'200), .is_direct = true};
  unsigned token_attempts = 2;
};

constexpr std::string_view kRolesPath = "/latest/meta-data/iam/security-credentials/";

HttpRequest get(const std::string& url, HeaderList headers) {
  return {.method = "GET", .url = url, .headers = std::move(headers), .body = {}, .buffer = {}};
}

// Returns the answer to `request`, whose status is not one that passes by itself.
HttpResponse ask(const HttpRequest& request, const Environment& environment,
                 const std::string& origin, const Patience& patience) {
  HttpResponse response;
  Retrier retrier(patience.policy, *environment.clock, /*seed=*/1);
  retrier.run(origin, [&](const Attempt& /*number*/) -> std::optional<Failure> {
    const HttpOutcome outcome = environment.exchange(request, patience.options);
    if (const auto* failure = std::get_if<TransportFailure>(&outcome)) return failure_of(*failure);
    response = std::get<HttpResponse>(outcome);
    if (response.status == 429 || response.status >= 500) return unexpected(response);
    return std::nullopt;
  });
  return response;
}

std::string ids_in(const HttpResponse& response) {
  const std::string ids = request_ids_of(response);
  return ids.empty() ? ids : fmt::format(" ({})", ids);
}

std::string no_token_in(const HttpResponse& response) {
  return fmt::format("it gives no token: {}{}", response.status, ids_in(response));
}

Credentials credentials_in(const HttpResponse& response, const std::string& origin) {
  if (response.status != 200) {
    const std::string reason = parse_failure_document(response.text);
    throw Error(EACCES, fmt::format("{} answered {}{}{}{}", origin, response.status,
                                    reason.empty() ? "" : ": ", reason, ids_in(response)));
  }
  try {
    return parse_credential_document(response.text, CredentialDocument::metadata, origin);
  } catch (const Error& error) {
    throw Error(error.code(), error.what() + ids_in(response));
  }
}

// Returns scheme and host of an URL without a user; both are empty for anything else.
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

// Returns whether the host is this machine, or one of the addresses at which ECS and EKS answer.
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

// Returns the proof that the container's endpoint demands; empty if there is none.
std::string container_token(const Environment& environment) {
  constexpr const char* kFileVariable = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";
  const std::string path = environment.variable(kFileVariable);
  std::string token = environment.variable("AWS_CONTAINER_AUTHORIZATION_TOKEN");
  if (!path.empty()) {
    const auto text = environment.read_file(path);
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

// Returns the setting as a number of at least 1; nothing if it is not set.
std::optional<unsigned> number_of(const AwsSettings& settings, const std::string& variable,
                                  const std::string& name) {
  const std::string text = settings.setting(variable, name);
  if (text.empty()) return std::nullopt;
  unsigned number = 0;
  constexpr unsigned kMax = 3600;
  if (!parse_number(text, number) || number == 0 || number > kMax) {
    throw Error(EINVAL, fmt::format("{} ({}): '{}' is no number from 1 to {}", variable, name,
                                    quotable(text), kMax));
  }
  return number;
}

Patience metadata_patience(const AwsSettings& settings) {
  Patience patience;
  if (const auto timeout_s =
          number_of(settings, "AWS_METADATA_SERVICE_TIMEOUT", "metadata_service_timeout")) {
    const milliseconds timeout = seconds(*timeout_s);
    patience.options.connect_timeout = patience.options.timeout = timeout;
    patience.token_options = patience.options;
    patience.policy.timeout = std::max<Duration>(patience.policy.timeout, 3 * timeout);
  }
  if (const auto attempts = number_of(settings, "AWS_METADATA_SERVICE_NUM_ATTEMPTS",
                                      "metadata_service_num_attempts")) {
    patience.token_attempts = *attempts;
    patience.policy.retries = *attempts - 1;
  }
  return patience;
}

std::string metadata_endpoint(const AwsSettings& settings) {
  std::string url =
      settings.setting("AWS_EC2_METADATA_SERVICE_ENDPOINT", "ec2_metadata_service_endpoint");
  while (url.ends_with('/')) url.pop_back();
  if (!url.empty()) return url;
  std::string mode = in_lower_case(settings.setting("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE",
                                                    "ec2_metadata_service_endpoint_mode"));
  if (mode.empty() && settings.is_true("AWS_IMDS_USE_IPV6", "imds_use_ipv6")) mode = "ipv6";
  if (!mode.empty() && mode != "ipv4" && mode != "ipv6") {
    throw Error(EINVAL, fmt::format("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE "
                                    "(ec2_metadata_service_endpoint_mode): '{}' is neither IPv4 "
                                    "nor IPv6",
                                    quotable(mode)));
  }
  return mode == "ipv6" ? "http://[fd00:ec2::254]" : "http://169.254.169.254";
}

// The address and secret for requests to the metadata service.
struct MetadataAccess {
  enum class Version : std::uint8_t { none, one, two };
  Version version = Version::none;
  HeaderList headers{};   // with the secret that version 2 requires
  std::string why_not{};  // if there is no such service, or no version 2
};

// Interprets `outcome` of the PUT for a token; returns nothing if it may be another the next time.
std::optional<MetadataAccess> access_of(const HttpOutcome& outcome) {
  using Version = MetadataAccess::Version;
  if (const auto* failure = std::get_if<TransportFailure>(&outcome)) {
    const bool is_silent =
        failure->kind == TransportFailure::Kind::timeout && failure->may_have_arrived;
    if (!is_silent) return std::nullopt;
    return MetadataAccess{Version::one, {}, "it gives no token: " + failure->message};
  }
  const auto& response = std::get<HttpResponse>(outcome);
  if (response.status == 200 && !response.text.empty()) {
    return MetadataAccess{Version::two, {{"x-aws-ec2-metadata-token", response.text}}, {}};
  }
  if (response.status >= 500) return std::nullopt;
  const bool is_refused =
      response.status == 403 || response.status == 404 || response.status == 405;
  return MetadataAccess{is_refused ? Version::one : Version::none, {}, no_token_in(response)};
}

MetadataAccess metadata_access(const std::string& endpoint, const AwsSettings& settings,
                               const Patience& patience) {
  const HttpRequest request{.method = "PUT",
                            .url = endpoint + "/latest/api/token",
                            .headers = {{"x-aws-ec2-metadata-token-ttl-seconds", "21600"}},
                            .body = {},
                            .buffer = {}};
  std::string why_not;
  for (unsigned attempt = 1; attempt <= patience.token_attempts; ++attempt) {
    const HttpOutcome outcome = settings.environment().exchange(request, patience.token_options);
    if (const auto access = access_of(outcome)) return *access;
    const auto* const failure = std::get_if<TransportFailure>(&outcome);
    why_not = failure != nullptr ? failure->message : no_token_in(std::get<HttpResponse>(outcome));
  }
  return {MetadataAccess::Version::none, {}, why_not};
}

// Returns the role's name in an answer; empty if the instance has none.
std::string role_in(const HttpResponse& response, const MetadataAccess& access,
                    const std::string& origin) {
  if (response.status == 404) return {};
  if (response.status == 401 && access.version == MetadataAccess::Version::one) {
    throw Error(EACCES, fmt::format("{} wants a token, but {}: in a container, the instance's "
                                    "http-put-response-hop-limit must be 2{}",
                                    origin, access.why_not, ids_in(response)));
  }
  if (response.status != 200) {
    throw Error(EACCES, fmt::format("{} answered {} when asked for the instance's role{}", origin,
                                    response.status, ids_in(response)));
  }
  std::string role = response.text.substr(0, response.text.find_first_of("\r\n"));
  // An HTML page comes from something else that has the address.
  return role.find('<') == std::string::npos ? role : std::string();
}

}  // namespace

std::optional<Credentials> credentials_of_container(const AwsSettings& settings) {
  const Environment& environment = settings.environment();
  const std::string relative = environment.variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
  const std::string full = environment.variable("AWS_CONTAINER_CREDENTIALS_FULL_URI");
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
  const std::string token = container_token(environment);
  if (!token.empty()) headers.emplace_back("authorization", token);
  return credentials_in(ask(get(url, headers), environment, origin, Patience()), origin);
}

std::optional<Credentials> credentials_of_instance(const AwsSettings& settings,
                                                   std::string& why_not) {
  const Environment& environment = settings.environment();
  if (in_lower_case(environment.variable("AWS_EC2_METADATA_DISABLED")) == "true") {
    why_not = "switched off by AWS_EC2_METADATA_DISABLED";
    return std::nullopt;
  }
  const Patience patience = metadata_patience(settings);
  const std::string endpoint = metadata_endpoint(settings);
  const MetadataAccess access = metadata_access(endpoint, settings, patience);
  why_not = access.why_not;
  if (access.version == MetadataAccess::Version::none) return std::nullopt;
  if (access.version == MetadataAccess::Version::one &&
      settings.is_true("AWS_EC2_METADATA_V1_DISABLED", "ec2_metadata_v1_disabled")) {
    why_not += ", and version 1 is switched off by AWS_EC2_METADATA_V1_DISABLED";
    return std::nullopt;
  }
  const std::string origin = fmt::format("the EC2 metadata service at {}", endpoint);
  const std::string roles_url = endpoint + std::string(kRolesPath);
  const std::string role =
      role_in(ask(get(roles_url, access.headers), environment, origin, patience), access, origin);
  if (role.empty()) {
    why_not = "this instance has no role";
    return std::nullopt;
  }
  return credentials_in(
      ask(get(roles_url + uri_encode(role), access.headers), environment, origin, patience),
      origin);
}

}  // namespace nbdstack
