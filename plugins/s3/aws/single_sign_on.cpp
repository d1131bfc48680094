#include "plugins/s3/aws/single_sign_on.hpp"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <vector>

#include "common/error.hpp"
#include "common/quoted_name.hpp"
#include "common/wall_time.hpp"
#include "plugins/s3/aws/credential_document.hpp"
#include "plugins/s3/aws/json_text.hpp"
#include "plugins/s3/aws/request_ids.hpp"
#include "plugins/s3/aws/retry.hpp"
#include "plugins/s3/aws/signing.hpp"
#include "plugins/s3/aws/sso_token.hpp"
#include "plugins/s3/aws/unexpected_answer.hpp"

namespace nbdstack {
namespace {

using Json = nlohmann::json;

// The session's settings complete the profile's, which may repeat but not contradict them.
ProfileSettings with_session(const Profile& profile, const AwsSettings& settings) {
  ProfileSettings merged = profile.in_config;
  for (const auto& [name, value] : profile.in_credentials) merged.insert_or_assign(name, value);
  const std::string session_name = profile.setting("sso_session");
  if (session_name.empty()) return merged;
  const ProfileSettings* const session = settings.config().find_sso_session(session_name);
  if (session == nullptr) {
    throw Error(EINVAL, fmt::format("profile \"{}\": there is no [sso-session {}] in {}",
                                    profile.name, session_name, settings.config().config_path()));
  }
  for (const auto& [name, value] : *session) {
    const auto [there, is_new] = merged.try_emplace(name, value);
    if (!is_new && there->second != value) {
      throw Error(EINVAL, fmt::format("profile \"{}\": its {} is not that of [sso-session {}]",
                                      profile.name, name, session_name));
    }
  }
  return merged;
}

// A role that a user has signed in for.
struct SsoRole {
  SsoSession session;
  std::string account_id;
  std::string role_name;
};

SsoRole role_of(const Profile& profile, const AwsSettings& settings) {
  const ProfileSettings merged = with_session(profile, settings);
  std::vector<std::string> missing;
  const auto required = [&](const char* name) {
    const auto found = merged.find(name);
    if (found == merged.end() || found->second.empty()) missing.emplace_back(name);
    return found == merged.end() ? std::string() : found->second;
  };
  SsoRole role{.session = {.profile = profile.name,
                           .name = profile.setting("sso_session"),
                           .start_url = required("sso_start_url"),
                           .region = required("sso_region")},
               .account_id = required("sso_account_id"),
               .role_name = required("sso_role_name")};
  if (missing.empty()) return role;
  throw Error(EINVAL, fmt::format("profile \"{}\": single sign-on needs {}, too", profile.name,
                                  fmt::join(missing, " and ")));
}

Failure refusal_in(const HttpResponse& response, const SsoRole& role) {
  const Json json = parse_json(response.text);
  ServiceError error;
  error.code = quotable(response.header("x-amzn-errortype").value_or(""));
  error.message = parse_failure_document(response.text);
  Failure failure = failure_of(response.status, error, std::nullopt);
  failure.may_pass = failure.may_pass || response.status == 429;
  if (response.status < 500) failure.code = EACCES;
  if (response.status == 401) failure.reason += sign_in_again(role.session.profile);
  failure.request_ids = request_ids_of(response);
  return failure;
}

Credentials credentials_in(const HttpResponse& answer, const std::string& operation) {
  const Json json = parse_json(answer.text);
  const auto found = json.is_object() ? json.find("roleCredentials") : json.end();
  const Json role = found != json.end() ? *found : Json();
  Credentials credentials{.access_key = text_field(role, "accessKeyId"),
                          .secret_key = text_field(role, "secretAccessKey"),
                          .session_token = text_field(role, "sessionToken")};
  const auto expiration = role.find("expiration");  // in milliseconds since 1970
  const bool has_end = expiration != role.end() && expiration->is_number_integer();
  if (credentials.access_key.empty() || credentials.secret_key.empty() ||
      credentials.session_token.empty() || !has_end) {
    const Failure failure{.reason = "the answer holds no credentials",
                          .request_ids = request_ids_of(answer)};
    throw Error(EACCES, fmt::format("{}: {}", operation, failure.in_words()));
  }
  credentials.expires = wall_time_of(expiration->get<std::int64_t>() / 1000);
  return credentials;
}

}  // namespace

std::optional<Credentials> credentials_of_single_sign_on(const Profile& profile,
                                                         const AwsSettings& settings) {
  if (profile.setting("sso_account_id").empty() && profile.setting("sso_role_name").empty()) {
    return std::nullopt;
  }
  const SsoRole role = role_of(profile, settings);
  const std::string token = sso_token(role.session, settings);
  const ServiceAddress address =
      service_address(settings, "sso", "portal.sso", role.session.region);
  const HttpRequest request{
      .method = "GET",
      .url = fmt::format(
          "{}{}federation/credentials?{}", address.origin, address.path,
          encode_query({{"account_id", role.account_id}, {"role_name", role.role_name}})),
      .headers = {{"host", address.host}, {"x-amz-sso_bearer_token", token}},
      .body = {},
      .buffer = {}};
  const std::string operation =
      fmt::format("profile \"{}\": GetRoleCredentials of role {} in account {}", profile.name,
                  quotable(role.role_name), quotable(role.account_id));
  HttpResponse answer;
  Retrier retrier(kServicePatience, *settings.environment().clock, /*seed=*/1);
  retrier.run(operation, [&](const Attempt& /*number*/) -> std::optional<Failure> {
    const HttpOutcome outcome = settings.environment().exchange(request, service_exchange());
    if (const auto* failure = std::get_if<TransportFailure>(&outcome)) return failure_of(*failure);
    const auto& response = std::get<HttpResponse>(outcome);
    if (response.status != 200) return refusal_in(response, role);
    answer = response;
    return std::nullopt;
  });
  return credentials_in(answer, operation);
}

}  // namespace nbdstack
