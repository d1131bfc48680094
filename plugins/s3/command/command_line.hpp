// Parses the command line of nbdstack-s3: a verb, the plugin's parameters as NAME=VALUE, options. A
// second bare word is the bucket, as with nbdkit.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/command/usage_error.hpp"
#include "common/params/parameters.hpp"
#include "plugins/s3/s3_parameters.hpp"

namespace nbdstack {

enum class Verb : std::uint8_t {
  help,
  version,
  create,
  show,
  list,
  resize,
  check,
  remove,
  passphrase
};

class CommandLine {
 public:
  // `words` are without the program's name. Throws UsageError, also if a parameter's value is wrong
  // or a secret cannot be read.
  explicit CommandLine(const std::vector<std::string>& words);
  CommandLine(const CommandLine&) = delete;
  CommandLine& operator=(const CommandLine&) = delete;

  [[nodiscard]] Verb verb() const { return verb_; }
  // Empty for help and version.
  [[nodiscard]] const S3Parameters& parameters() const { return parameters_; }
  [[nodiscard]] const std::string& new_passphrase() const { return new_passphrase_; }

  // The file of a table of prices, or an empty text.
  [[nodiscard]] const std::string& prices() const { return prices_; }

  [[nodiscard]] bool force() const { return force_; }
  [[nodiscard]] bool yes() const { return yes_; }
  [[nodiscard]] bool renew() const { return renew_; }
  [[nodiscard]] bool versions() const { return versions_; }
  [[nodiscard]] bool json() const { return json_; }
  [[nodiscard]] bool progress() const { return progress_; }
  [[nodiscard]] bool verbose() const { return verbose_; }

  // Returns the text of --help.
  static std::string help();

 private:
  void take_option(const std::string& word);
  void take_parameter(const std::string& name, const std::string& value);
  void check();

  S3Parameters parameters_;  // never moves, because the tables write into it
  ParameterTable table_;
  std::string new_passphrase_;
  std::string prices_;
  ParameterTable own_table_;
  Verb verb_ = Verb::help;
  bool force_ = false;
  bool yes_ = false;
  bool renew_ = false;
  bool versions_ = false;
  bool json_ = false;
  bool progress_ = false;
  bool verbose_ = false;
};

}  // namespace nbdstack
