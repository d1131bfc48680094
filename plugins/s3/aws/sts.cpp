#include "plugins/s3/aws/sts.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <pugixml.hpp>
#include <span>
#include <string_view>

#include "common/error.hpp"
#include "common/hash/digest.hpp"
#include "common/quoted_name.hpp"
#include "plugins/s3/aws/credential_document.hpp"
#include "plugins/s3/aws/request_ids.hpp"
#include "plugins/s3/aws/retry.hpp"
#include "plugins/s3/aws/signing.hpp"

namespace nbdstack {
namespace {

// The regions of sts.amazonaws.com if endpoints are "legacy". Source: botocore's list.
constexpr std::array<std::string_view, 15> kGlobalRegions{
    "ap-northeast-1", "ap-south-1", "ap-southeast-1", "ap-southeast-2", "ca-central-1",
    "eu-central-1",   "eu-north-1", "eu-west-1",      "eu-west-2",      "eu-west-3",
    "sa-east-1",      "us-east-1",  "us-east-2",      "us-west-1",      "us-west-2"};

struct Sts {
  ServiceAddress address;
  std::string region;  // for which requests are signed
};

Sts find_sts(const AwsSettings& settings) {
  const bool is_global =
      in_lower_case(settings.setting("AWS_STS_REGIONAL_ENDPOINTS", "sts_regional_endpoints")) ==
          "legacy" &&
      settings.endpoint_url("sts").url.empty() && !settings.uses_fips() &&
      std::find(kGlobalRegions.begin(), kGlobalRegions.end(), settings.region()) !=
          kGlobalRegions.end();
  if (is_global) {
    return {service_address({"https://sts.amazonaws.com", "sts_regional_endpoints"}), "us-east-1"};
  }
  return {service_address(settings, "sts", "sts", settings.region()), settings.region()};
}

std::string session_name_of(const RoleRequest& role, const Environment& environment) {
  if (!role.session_name.empty()) return role.session_name;
  return fmt::format("nbdkit-s3-{}", std::chrono::system_clock::to_time_t(environment.wall_time()));
}

QueryList form_of(const char* action, const RoleRequest& role, const Environment& environment) {
  QueryList form{{"Action", action},
                 {"Version", "2011-06-15"},
                 {"RoleArn", role.role_arn},
                 {"RoleSessionName", session_name_of(role, environment)}};
  if (!role.external_id.empty()) form.emplace_back("ExternalId", role.external_id);
  if (role.duration_s) form.emplace_back("DurationSeconds", std::to_string(*role.duration_s));
  return form;
}

// Describes an unsuccessful answer of STS. Its message may continue with a quote of the request,
// with the session token: the first line is enough.
Failure failure_in(const HttpResponse& response) {
  pugi::xml_document document;
  document.load_buffer(response.text.data(), response.text.size());
  const pugi::xml_node node = document.child("ErrorResponse").child("Error");
  ServiceError error;
  error.code = quotable(node.child_value("Code"));
  error.message = quotable(node.child_value("Message"));
  Failure failure = failure_of(response.status, error, std::nullopt);
  // The identity provider did not answer STS; and STS sends 400 instead of 429.
  failure.may_pass = failure.may_pass || error.code == "IDPCommunicationError" ||
                     error.code == "Throttling" || error.code == "ThrottlingException";
  if (response.status == 400 && !failure.may_pass) failure.code = EACCES;
  failure.request_ids = request_ids_of(response);
  return failure;
}

Credentials credentials_in(const HttpResponse& answer, const std::string& action,
                           const std::string& operation) {
  pugi::xml_document document;
  document.load_buffer(answer.text.data(), answer.text.size());
  const pugi::xml_node node = document.child((action + "Response").c_str())
                                  .child((action + "Result").c_str())
                                  .child("Credentials");
  Credentials credentials{.access_key = node.child_value("AccessKeyId"),
                          .secret_key = node.child_value("SecretAccessKey"),
                          .session_token = node.child_value("SessionToken"),
                          .expires = parse_iso_time(node.child_value("Expiration"))};
  if (credentials.access_key.empty() || credentials.secret_key.empty() ||
      credentials.session_token.empty() || !credentials.expires) {
    const Failure failure{.reason = "the answer holds no credentials (is it an STS service?)",
                          .request_ids = request_ids_of(answer)};
    throw Error(EACCES, fmt::format("{}: {}", operation, failure.in_words()));
  }
  return credentials;
}

// The request is signed if `as` is given.
Credentials call(const QueryList& form, const std::string& role_arn, const Credentials* as,
                 const AwsSettings& settings) {
  const Environment& environment = settings.environment();
  const std::string& action = form.front().second;
  const std::string operation = fmt::format("{} {}", action, role_arn);
  const Sts sts = find_sts(settings);
  const std::string text = encode_query(form);
  const auto body = std::as_bytes(std::span(text));
  HttpResponse answer;
  Retrier retrier(kServicePatience, *environment.clock, /*seed=*/1);
  retrier.run(operation, [&](const Attempt& /*number*/) -> std::optional<Failure> {
    HeaderList headers{{"host", sts.address.host},
                       {"content-type", "application/x-www-form-urlencoded; charset=utf-8"}};
    if (as != nullptr) {
      headers =
          signed_headers({.method = "POST",
                          .path = sts.address.path,
                          .query = {},
                          .headers = headers,
                          .payload_sha256 = to_hex(sha256(body))},
                         *as, {.region = sts.region, .service = "sts"}, environment.wall_time());
    }
    const HttpOutcome outcome = environment.exchange({.method = "POST",
                                                      .url = sts.address.origin + sts.address.path,
                                                      .headers = headers,
                                                      .body = body,
                                                      .buffer = {}},
                                                     service_exchange());
    if (const auto* failure = std::get_if<TransportFailure>(&outcome)) return failure_of(*failure);
    const auto& response = std::get<HttpResponse>(outcome);
    if (response.status != 200) return failure_in(response);
    answer = response;
    return std::nullopt;
  });
  return credentials_in(answer, action, operation);
}

}  // namespace

Credentials assume_role(const RoleRequest& role, const Credentials& as,
                        const AwsSettings& settings) {
  return call(form_of("AssumeRole", role, settings.environment()), role.role_arn, &as, settings);
}

Credentials assume_role_with_web_identity(const RoleRequest& role, const std::string& token_path,
                                          const AwsSettings& settings) {
  const Environment& environment = settings.environment();
  const auto token = environment.read_file(token_path);
  const std::size_t end = token ? token->find_last_not_of(" \t\r\n") : std::string::npos;
  if (end == std::string::npos) {
    throw Error(EACCES, fmt::format("AssumeRoleWithWebIdentity {}: there is no token in {}",
                                    role.role_arn, token_path));
  }
  QueryList form = form_of("AssumeRoleWithWebIdentity", role, environment);
  form.emplace_back("WebIdentityToken", token->substr(0, end + 1));
  return call(form, role.role_arn, nullptr, settings);
}

}  // namespace nbdstack
