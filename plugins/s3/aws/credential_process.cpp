#include "plugins/s3/aws/credential_process.hpp"

#include <fmt/core.h>

#include "common/error.hpp"
#include "common/quoted_name.hpp"
#include "plugins/s3/aws/credential_document.hpp"

namespace nbdstack {
namespace {

[[noreturn]] void refuse(const std::string& reason) {
  throw Error(EINVAL, fmt::format("credential_process: {}", reason));
}

// Returns the argument that begins at `next`, and moves `next` behind it.
std::string take_argument(const std::string& command, std::size_t& next) {
  std::string argument;
  char quote = '\0';  // the open one
  for (; next < command.size(); ++next) {
    const char c = command[next];
    const bool blank = c == ' ' || c == '\t' || c == '\r' || c == '\n';
    if (quote == '\0' && blank) return argument;
    if (quote != '\0' && c == quote) {
      quote = '\0';
    } else if (quote == '\0' && (c == '\'' || c == '"')) {
      quote = c;
    } else if (c == '\\' && quote != '\'') {
      if (++next == command.size()) refuse("nothing follows the last backslash");
      const char escaped = command[next];
      if (quote == '"' && escaped != '"' && escaped != '\\') argument += c;
      argument += escaped;
    } else {
      argument += c;
    }
  }
  if (quote != '\0') refuse(fmt::format("a quote ({}) is not closed", quote));
  return argument;
}

}  // namespace

std::vector<std::string> split_command(const std::string& command) {
  std::vector<std::string> arguments;
  std::size_t next = 0;
  while ((next = command.find_first_not_of(" \t\r\n", next)) != std::string::npos) {
    arguments.push_back(take_argument(command, next));
  }
  if (arguments.empty() || arguments.front().empty()) refuse("there is no program in it");
  return arguments;
}

Credentials credentials_of_process(const std::string& profile, const std::string& command,
                                   const Environment& environment) {
  const std::string origin = fmt::format("credential_process of profile \"{}\"", profile);
  try {
    const std::vector<std::string> arguments = split_command(command);
    const ProcessOutcome outcome = environment.run(arguments, kCredentialProcessLimit);
    if (outcome.exit_code != 0) {
      const std::string errors = quotable(outcome.errors);
      throw Error(EACCES, fmt::format("{} ended with exit code {}{}{}", arguments.front(),
                                      outcome.exit_code, errors.empty() ? "" : ": ", errors));
    }
    return parse_credential_document(outcome.output, CredentialDocument::program,
                                     arguments.front());
  } catch (const Error& error) {
    throw Error(EACCES, fmt::format("{}: {}", origin, error.what()));
  }
}

}  // namespace nbdstack
