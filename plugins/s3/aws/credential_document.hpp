// The JSON in which programs and metadata services hand out credentials.
//
//   {"AccessKeyId": "..", "SecretAccessKey": "..", "Token": "..",
//    "Expiration": "2026-01-02T03:04:05Z"}
//
// Programs write SessionToken instead of Token and add "Version": 1. Only here is such a text
// looked at, and no part of it gets into a message: it is all secrets.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "plugins/s3/aws/credentials.hpp"

namespace nbdstack {

enum class CredentialDocument : std::uint8_t {
  program,   // Version must be 1; SessionToken and Expiration are optional
  metadata,  // Token and Expiration are required; Code, where there is one, must be Success
};

// Throws Error(EACCES), which begins with `origin` and says which field is wrong.
Credentials parse_credential_document(const std::string& text, CredentialDocument kind,
                                      const std::string& origin);

// What a metadata service says about its failure ({"code":..,"message":..}, in either case of the
// names), for a message; empty where it says nothing.
std::string parse_failure_document(const std::string& text);

// ISO 8601 as AWS writes it: "2026-01-02T03:04:05Z", with a fraction or an offset as well, or with
// the "UTC" of older versions of the AWS CLI.
std::optional<std::chrono::system_clock::time_point> parse_iso_time(const std::string& text);

}  // namespace nbdstack
