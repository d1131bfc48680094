// Everything that tells credentials (credential_chain.hpp): the environment, AWS's two files, what
// programs print, the cache of a single sign-on, and what the metadata services and STS answer.
//
//   the input      is texts with a line "---" between them: the environment, the config file, the
//                  credentials file, then what programs, services and the cache of a single sign-on
//                  tell one after the other, behind a status or exit code of three digits. The
//                  whole of it is also taken for a document of each kind
//   any of it      gives credentials, or an error that says where they were looked for
//   a document     that is accepted is accepted again as it is written out, and then says the same;
//                  one that a program has printed is quoted by no message
//   a time         is the same when it is written again
#include <fmt/chrono.h>
#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <nlohmann/json.hpp>

#include "plugins/s3/aws/credential_chain.hpp"
#include "plugins/s3/aws/credential_document.hpp"
#include "plugins/s3/aws/credential_http.hpp"
#include "plugins/s3/aws/environment.hpp"
#include "tests/fuzz/fuzz.hpp"
#include "tests/unit/fakes/fake_clock.hpp"

namespace nbdstack::fuzz {
namespace {

using Clock = std::chrono::system_clock;

std::string iso_text(Clock::time_point time) {
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(Clock::to_time_t(time)));
}

void check_time(const std::string& text) {
  const auto time = parse_iso_time(text);
  if (!time.has_value()) return;
  must(parse_iso_time(iso_text(*time)) == std::chrono::time_point_cast<std::chrono::seconds>(*time),
       "a time that is written again is the same");
}

std::string document_of(const Credentials& credentials, CredentialDocument kind) {
  nlohmann::json json{
      {"AccessKeyId", credentials.access_key},
      {"SecretAccessKey", credentials.secret_key},
      {kind == CredentialDocument::program ? "SessionToken" : "Token", credentials.session_token},
      {"Version", 1}};
  if (credentials.expires) json["Expiration"] = iso_text(*credentials.expires);
  return json.dump();
}

void check_same(const Credentials& found, CredentialDocument kind) {
  const auto again =
      accepted([&] { return parse_credential_document(document_of(found, kind), kind, "o"); });
  must(again.has_value() && again->access_key == found.access_key &&
           again->secret_key == found.secret_key && again->session_token == found.session_token &&
           again->expires.has_value() == found.expires.has_value(),
       "a document that is written says the same");
}

void check_printed(const std::string& text) {
  constexpr auto kMessages = std::to_array<std::string_view>(
      {"o gave no JSON object", "o gave credentials without \"Version\": 1, the only version known",
       "o gave no AccessKeyId", "o gave no SecretAccessKey", "o gave no Expiration",
       "o gave an Expiration that is no ISO 8601 time"});
  try {
    check_same(parse_credential_document(text, CredentialDocument::program, "o"),
               CredentialDocument::program);
  } catch (const Error& error) {
    must(std::find(kMessages.begin(), kMessages.end(), error.what()) != kMessages.end(),
         "a message quotes nothing that a program has printed");
  }
}

void check_documents(const std::string& text) {
  check_printed(text);
  constexpr auto kKind = CredentialDocument::metadata;
  const auto found = accepted([&] { return parse_credential_document(text, kKind, "o"); });
  if (found.has_value()) check_same(*found, kKind);
  const std::string failure = parse_failure_document(text);
  must(failure.size() < 512 && std::none_of(failure.begin(), failure.end(),
                                            [](unsigned char c) { return c < ' ' || c == 0x7f; }),
       "what a service says of its failure fits a line of the log");
}

// What the input makes of the world. The order of its answers is that of the questions.
class World {
 public:
  explicit World(const std::vector<std::string>& texts) : texts_(texts) {}

  Environment environment() {
    Environment world;
    world.find_variable = [this](const std::string& name) { return variable(name); };
    world.read_file = [this](const std::string& path) { return file(path); };
    world.replace_file = [](const auto& /*path*/, const auto& make) {
      must(!make().empty(), "a file that is replaced has content");
    };
    world.run = [this](const auto& /*arguments*/, auto /*limit*/) {
      const auto [status, text] = answer();
      return ProcessOutcome{.exit_code = status, .output = text, .errors = text};
    };
    world.exchange = [this](const auto& /*request*/, const auto& /*options*/) -> HttpOutcome {
      const auto [status, text] = answer();
      if (status == 0) return TransportFailure{.message = text};
      return HttpResponse{.status = status, .text = text};
    };
    world.wall_time = [] { return Clock::from_time_t(1'000'000'000); };
    world.clock = std::make_shared<testing::FakeClock>();
    return world;
  }

 private:
  [[nodiscard]] std::string_view text(std::size_t index) const {
    return index < texts_.size() ? std::string_view(texts_[index]) : std::string_view();
  }
  [[nodiscard]] std::optional<std::string> variable(const std::string& name) const {
    std::string_view lines = text(0);
    while (!lines.empty()) {
      std::string_view line = take_until(lines, "\n");
      // An environment has no zero bytes; an error that begins with one would say nothing.
      if (take_until(line, "=") == name)
        return std::string(take_until(line, std::string_view("\0", 1)));
    }
    return std::nullopt;
  }
  std::optional<std::string> file(const std::string& path) {
    if (path.ends_with(".json")) return answer().second;  // of a single sign-on
    if (path.ends_with("/config")) return std::string(text(1));
    if (path.ends_with("/credentials")) return std::string(text(2));
    return "token";
  }
  std::pair<int, std::string> answer() {
    const std::string_view whole = text(next_answer_++);
    return {std::atoi(std::string(whole.substr(0, 3)).c_str()),
            std::string(whole.substr(std::min<std::size_t>(whole.size(), 4)))};
  }

  const std::vector<std::string>& texts_;
  std::size_t next_answer_ = 3;
};

void check_world(const std::vector<std::string>& texts, const CredentialParameters& parameters) {
  World world(texts);
  const Environment environment = world.environment();
  const auto identity = accepted([&] { return find_identity(parameters, environment); });
  if (!identity.has_value()) return;
  must(!identity->credentials.access_key.empty() && !identity->credentials.secret_key.empty(),
       "credentials that are found are whole");
}

}  // namespace
}  // namespace nbdstack::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace nbdstack;
  const std::string text = fuzz::text_of({data, size});
  fuzz::check_time(text);
  fuzz::check_documents(text);
  const std::vector<std::string> texts = fuzz::split(text, "\n---\n");
  for (const std::string& each : texts) fuzz::check_documents(each);
  fuzz::check_world(texts, {});
  CredentialParameters named;
  named.profile = "p";
  fuzz::check_world(texts, named);
  return 0;
}
