// The JSON of credentials from programs and metadata services.
//
//   {"AccessKeyId": "..", "SecretAccessKey": "..", "Token": "..",
//    "Expiration": "2026-01-02T03:04:05Z"}
//
// Programs write SessionToken instead of Token and add "Version": 1. Such a text is read only here,
// and no part of it gets into a message, because all of it is secret.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "plugins/s3/aws/credentials.hpp"

namespace nbdstack {

enum class CredentialDocument : std::uint8_t {
  program,   // Version must be 1; SessionToken and Expiration are optional
  metadata,  // Token and Expiration are required; Code is optional and must be Success
};

// Throws Error(EACCES), which begins with `origin` and names the field that is wrong.
Credentials parse_credential_document(const std::string& text, CredentialDocument kind,
                                      const std::string& origin);

// Returns the failure that a metadata service reports ({"code":..,"message":..}, with names in
// upper or lower case), for a message; empty if there is none.
std::string parse_failure_document(const std::string& text);

// Parses ISO 8601 as AWS writes it: "2026-01-02T03:04:05Z", possibly with a fraction or an offset,
// or with the "UTC" of older versions of the AWS CLI.
std::optional<std::chrono::system_clock::time_point> parse_iso_time(const std::string& text);

}  // namespace nbdstack
