#include "plugins/s3/aws/sso_token.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "common/error.hpp"
#include "common/hash/digest.hpp"
#include "common/log.hpp"
#include "common/quoted_name.hpp"
#include "common/utc_text.hpp"
#include "common/wall_time.hpp"
#include "plugins/s3/aws/credential_document.hpp"
#include "plugins/s3/aws/json_text.hpp"
#include "plugins/s3/aws/request_ids.hpp"
#include "plugins/s3/aws/retry.hpp"
#include "plugins/s3/aws/unexpected_answer.hpp"

namespace nbdstack {
namespace {

using Json = nlohmann::json;

constexpr std::chrono::minutes kMargin{15};
constexpr std::chrono::milliseconds kPauseOfLooks{100};
constexpr unsigned kLooksForRenewal = 20;
// No token lasts longer, and the clock's arithmetic does not overflow.
constexpr std::int64_t kLifetime_s_max = 1'000'000'000;

std::optional<WallTime> time_of(const Json& json, const char* field) {
  return parse_iso_time(text_field(json, field));
}

// The content of the cache.
struct CachedToken {
  Json json;  // all of it, to be written back
  std::string token;
  WallTime expires;
};

class TokenCache {
 public:
  TokenCache(const SsoSession& session, const AwsSettings& settings)
      : session_(session), settings_(settings), around_(settings.environment()) {
    const std::string& named = session.name.empty() ? session.start_url : session.name;
    path_ = around_.expand_home("~/.aws/sso/cache/" +
                                to_hex(sha1(std::as_bytes(std::span(named)))) + ".json");
  }

  std::string token() {
    const CachedToken cached = read();
    const auto left = cached.expires - around_.wall_time();
    if (left > kMargin) return cached.token;
    std::string reason;
    try {
      if (can_renew(cached)) return renew(cached);
    } catch (const Error& error) {
      const bool may_wait = left <= left.zero() && error.code() == EACCES;
      if (const auto other = renewed_by_another(cached, may_wait)) return *other;
      reason = fmt::format(", and could not be renewed: {}", error.what());
    }
    if (left <= left.zero()) {
      fail(fmt::format("the single sign-on's token in {} has expired{}", path_, reason));
    }
    if (!reason.empty()) {
      log::error("profile \"{}\": the single sign-on's token in {} expires soon{}{}",
                 session_.profile, path_, reason, sign_in_again(session_.profile));
    }
    return cached.token;
  }

 private:
  [[noreturn]] void fail(const std::string& reason) const {
    throw Error(EACCES, fmt::format("profile \"{}\": {}{}", session_.profile, reason,
                                    sign_in_again(session_.profile)));
  }

  [[nodiscard]] CachedToken read() const {
    const auto text = around_.read_file(path_);
    if (!text) fail(fmt::format("there is no token of a single sign-on in {}", path_));
    CachedToken cached{.json = parse_json(*text), .token = {}, .expires = {}};
    const auto expires = time_of(cached.json, "expiresAt");
    cached.token = text_field(cached.json, "accessToken");
    const bool is_printable =
        cached.token.find_first_of(std::string_view("\r\n\0", 3)) == std::string::npos;
    if (cached.token.empty() || !is_printable || !expires) {
      fail(fmt::format("{} holds no token of a single sign-on", path_));
    }
    cached.expires = *expires;
    return cached;
  }

  [[nodiscard]] bool can_renew(const CachedToken& cached) const {
    if (session_.name.empty()) return false;
    for (const char* field : {"refreshToken", "clientId", "clientSecret"}) {
      if (text_field(cached.json, field).empty()) return false;
    }
    const auto registered_until = time_of(cached.json, "registrationExpiresAt");
    return registered_until && *registered_until > around_.wall_time();
  }

  [[nodiscard]] std::string renew(const CachedToken& cached) const {
    std::string renewed;
    try {
      around_.replace_file(path_, [&] {
        Json json = create_token(cached.json);
        renewed = text_field(json, "accessToken");
        // Text from the AWS files need not be UTF-8, and must not cost the token.
        return json.dump(-1, ' ', false, Json::error_handler_t::replace);
      });
    } catch (const Error& error) {
      if (renewed.empty()) throw;
      log::error(
          "profile \"{}\": the single sign-on's token has been renewed, but could not be kept: {}; "
          "the next renewal may fail{}",
          session_.profile, error.what(), sign_in_again(session_.profile));
    }
    return renewed;
  }

  // Returns the cache's content after a renewal.
  [[nodiscard]] Json create_token(const Json& old) const {
    const HttpResponse response = ask({{"grantType", "refresh_token"},
                                       {"clientId", text_field(old, "clientId")},
                                       {"clientSecret", text_field(old, "clientSecret")},
                                       {"refreshToken", text_field(old, "refreshToken")}});
    const Json answer = parse_json(response.text);
    const std::string token = text_field(answer, "accessToken");
    const auto lifetime = answer.find("expiresIn");
    if (token.empty() || lifetime == answer.end() || !lifetime->is_number_integer()) {
      const Failure failure{.reason = "the answer holds no token",
                            .request_ids = request_ids_of(response)};
      throw Error(EACCES, "CreateToken: " + failure.in_words());
    }
    Json fresh = old;
    fresh["startUrl"] = session_.start_url;
    fresh["region"] = session_.region;
    fresh["accessToken"] = token;
    const auto lifetime_s =
        std::clamp<std::int64_t>(lifetime->get<std::int64_t>(), 0, kLifetime_s_max);
    const auto end = around_.wall_time() + std::chrono::seconds(lifetime_s);
    fresh["expiresAt"] = utc_text(std::chrono::system_clock::to_time_t(end));
    const std::string next = text_field(answer, "refreshToken");
    if (!next.empty()) fresh["refreshToken"] = next;
    return fresh;
  }

  [[nodiscard]] HttpResponse ask(const Json& form) const {
    const ServiceAddress address = service_address(settings_, "sso_oidc", "oidc", session_.region);
    const std::string text = form.dump();
    HttpResponse answer;
    Retrier retrier(kServicePatience, *around_.clock, /*seed=*/1);
    retrier.run("CreateToken", [&](const Attempt& /*number*/) -> std::optional<Failure> {
      const HttpOutcome outcome = around_.exchange(
          {.method = "POST",
           .url = address.origin + address.path + "token",
           .headers = {{"host", address.host}, {"content-type", "application/json"}},
           .body = std::as_bytes(std::span(text)),
           .buffer = {}},
          service_exchange());
      if (const auto* failure = std::get_if<TransportFailure>(&outcome)) {
        return failure_of(*failure);
      }
      const auto& response = std::get<HttpResponse>(outcome);
      if (response.status != 200) return refusal_in(response);
      answer = response;
      return std::nullopt;
    });
    return answer;
  }

  // {"error": "invalid_grant", "error_description": ".."}
  static Failure refusal_in(const HttpResponse& response) {
    const Json json = parse_json(response.text);
    ServiceError error;
    error.code = quotable(text_field(json, "error"));
    error.message = quotable(text_field(json, "error_description"));
    Failure failure = failure_of(response.status, error, std::nullopt);
    if (response.status < 500) failure.code = EACCES;
    failure.request_ids = request_ids_of(response);
    return failure;
  }

  // A refresh token is good for one use. If two processes try it at once, the refused one may read
  // the cache before the other has written its new token: so it waits a little for that.
  [[nodiscard]] std::optional<std::string> renewed_by_another(const CachedToken& cached,
                                                              bool may_wait) const {
    const unsigned looks = may_wait ? kLooksForRenewal : 1;
    for (unsigned look = 1;; ++look) {
      const CachedToken now = read();
      if (now.token != cached.token && now.expires > around_.wall_time()) return now.token;
      if (look == looks) return std::nullopt;
      around_.clock->sleep_for(kPauseOfLooks);
    }
  }

  const SsoSession& session_;
  const AwsSettings& settings_;
  const Environment& around_;
  std::string path_;
};

}  // namespace

std::string sso_token(const SsoSession& session, const AwsSettings& settings) {
  return TokenCache(session, settings).token();
}

std::string sign_in_again(const std::string& profile) {
  return fmt::format("; sign in with: aws sso login --profile {}", profile);
}

}  // namespace nbdstack
