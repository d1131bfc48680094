// An environment that a test writes down: variables, files, programs, answers and the time.
//
// HTTP to the scripted server, and to the places that it stands in for, gets its answers;
// everything else is a wait in vain. Every URL, and every program that was run, is kept.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/error.hpp"
#include "plugins/s3/aws/environment.hpp"
#include "tests/unit/fakes/fake_clock.hpp"
#include "tests/unit/s3/scripted_http_server.hpp"

namespace nbdstack::testing {

class FakeEnvironment {
 public:
  std::map<std::string, std::string> variables{{"HOME", "/home/u"}};
  std::map<std::string, std::string> files;
  bool can_open_files = true;
  std::function<void(const std::string& path)> on_read;  // before the file is read
  bool can_replace_files = true;
  std::map<std::string, ProcessOutcome> programs;  // by name
  ScriptedHttpServer server;
  bool is_silent = false;  // who is not redirected connects, but does not answer
  // What requests to these places (scheme and host) meet instead, at `server`.
  std::map<std::string, std::string> redirected;
  std::chrono::system_clock::time_point now{std::chrono::seconds(1'000'000'000)};
  std::shared_ptr<FakeClock> clock = std::make_shared<FakeClock>();

  std::vector<std::string> urls;
  std::vector<ExchangeOptions> options;  // of the same requests
  std::vector<std::vector<std::string>> commands;

  // Refers to this object.
  Environment get() {
    return {
        .find_variable = [this](const std::string& name) { return find(variables, name); },
        .read_file =
            [this](const std::string& path) {
              if (!can_open_files) throw system_error(EACCES, "{}", path);
              if (on_read) on_read(path);
              return find(files, path);
            },
        .replace_file = [this](const std::string& path, const auto& make) { replace(path, make); },
        .run = [this](const auto& arguments, auto /*limit*/) { return run(arguments); },
        .exchange = [this](const auto& request, const auto& how) { return exchange(request, how); },
        .wall_time = [this] { return now; },
        .clock = clock};
  }

  // `origin` ("http://169.254.169.254") is where the scripted server listens.
  void listen_at(const std::string& origin) { redirected[origin] = server.url(); }

 private:
  static std::optional<std::string> find(const std::map<std::string, std::string>& values,
                                         const std::string& name) {
    const auto found = values.find(name);
    if (found == values.end()) return std::nullopt;
    return found->second;
  }

  ProcessOutcome run(const std::vector<std::string>& arguments) {
    commands.push_back(arguments);
    const auto found = programs.find(arguments.front());
    if (found == programs.end()) throw system_error(ENOENT, "cannot run {}", arguments.front());
    return found->second;
  }

  void replace(const std::string& path, const std::function<std::string()>& make) {
    if (!can_replace_files) throw system_error(EROFS, "{}", path);
    files.at(path) = make();
  }

  HttpOutcome exchange(HttpRequest request, const ExchangeOptions& how) {
    urls.push_back(request.url);
    options.push_back(how);
    for (const auto& [origin, here] : redirected) {
      if (request.url.starts_with(origin + "/")) request.url.replace(0, origin.size(), here);
    }
    if (!request.url.starts_with(server.url())) {
      return TransportFailure{.kind = TransportFailure::Kind::timeout,
                              .message = "nobody is there",
                              .may_have_arrived = is_silent};
    }
    return HttpClient({.connections = 1}).perform(request, std::chrono::seconds(30));
  }
};

// What a metadata service hands out.
inline std::string metadata_document(const std::string& access_key,
                                     const std::string& expiration = "2001-09-09T07:46:40Z") {
  return fmt::format(R"({{"Code":"Success","AccessKeyId":"{}","SecretAccessKey":"metasecret",)"
                     R"("Token":"metatoken","Expiration":"{}"}})",
                     access_key, expiration);
}

// What STS hands out.
inline std::string sts_document(const std::string& action, const std::string& access_key) {
  return fmt::format(
      "<{0}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">"
      "<{0}Result><Credentials><AccessKeyId>{1}</AccessKeyId>"
      "<SecretAccessKey>stssecret</SecretAccessKey>"
      "<SessionToken>ststoken</SessionToken>"
      "<Expiration>2001-09-09T02:46:40Z</Expiration></Credentials></{0}Result>"
      "</{0}Response>",
      action, access_key);
}

}  // namespace nbdstack::testing
