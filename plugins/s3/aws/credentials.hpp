// The credentials that sign a request, and the user's parameters for them.
//
// credential_chain.hpp finds credentials, credential_source.hpp keeps them valid.
#pragma once

#include <chrono>
#include <optional>
#include <string>

namespace nbdstack {

struct Credentials {
  std::string access_key;  // empty if anonymous: the request is not signed
  std::string secret_key;
  std::string session_token;  // empty if there is none
  // The time from which the service refuses them, by the machine's clock; nothing if not known.
  std::optional<std::chrono::system_clock::time_point> expires{};

  [[nodiscard]] bool is_anonymous() const { return access_key.empty(); }
  friend bool operator==(const Credentials&, const Credentials&) = default;
};

// The values that the user gave; empty if not given.
struct CredentialParameters {
  std::string access_key;
  std::string secret_key;
  std::string session_token;
  std::string profile;
  std::string region;
  bool anonymous = false;  // no source is tried, and no request is signed
};

}  // namespace nbdstack
