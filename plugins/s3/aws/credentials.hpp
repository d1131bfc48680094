// What a request is signed with, and what the user said about it.
//
// Where credentials come from is in credential_chain.hpp, how they stay valid while requests go on
// in credential_source.hpp.
#pragma once

#include <chrono>
#include <optional>
#include <string>

namespace nbdstack {

struct Credentials {
  std::string access_key;  // empty: anonymous, the request is not signed
  std::string secret_key;
  std::string session_token;  // empty: none
  // When the service stops to accept them, by the machine's clock. Nothing: they have no known end.
  std::optional<std::chrono::system_clock::time_point> expires{};

  [[nodiscard]] bool is_anonymous() const { return access_key.empty(); }
  friend bool operator==(const Credentials&, const Credentials&) = default;
};

// As the user gave them; empty: not given.
struct CredentialParameters {
  std::string access_key;
  std::string secret_key;
  std::string session_token;
  std::string profile;
  std::string region;
  bool anonymous = false;  // nothing is looked for, and nothing signed
};

}  // namespace nbdstack
