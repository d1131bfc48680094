#include "plugins/s3/command/command_line.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>

#include "common/params/nearest_name.hpp"

namespace nbdstack {
namespace {

struct VerbRow {
  Verb verb;
  std::string_view word;
  std::string_view help;
};

constexpr std::array kVerbs{
    VerbRow{Verb::create, "create", "create a volume of size= bytes"},
    VerbRow{Verb::show, "show", "its geometry, how much is stored, who may write it"},
    VerbRow{Verb::list, "list", "the names of the volumes below key="},
    VerbRow{Verb::resize, "resize", "make it size= bytes large"},
    VerbRow{Verb::check, "check", "read and verify every object"},
    VerbRow{Verb::remove, "delete", "delete it with all its data"},
    VerbRow{Verb::passphrase, "passphrase", "change passphrase= to new-passphrase="},
};

struct OptionRow {
  std::string_view word;
  std::string_view help;
  std::string_view verbs;  // that have it, each between blanks; all if empty
};

constexpr std::array kOptions{
    OptionRow{"--force", "resize: also make it smaller", " resize "},
    OptionRow{"--yes", "delete: do not ask", " delete "},
    OptionRow{"--renew", "check: give checksums to objects that lack some", " check "},
    OptionRow{"--versions", "delete: also what the bucket keeps of its objects", " delete "},
    OptionRow{"--json", "show, list: print JSON", " show list "},
    OptionRow{"--progress", "show how far it is also where that is no terminal",
              " show check resize delete "},
    OptionRow{"--verbose", "print debug messages", ""},
    OptionRow{"--help", "print this, and nothing else", ""},
    OptionRow{"--version", "print the version, and nothing else", ""},
};

std::string_view word_of(Verb verb) {
  const auto* const row = std::find_if(kVerbs.begin(), kVerbs.end(),
                                       [&](const VerbRow& each) { return each.verb == verb; });
  return row == kVerbs.end() ? "" : row->word;
}

Verb parse_verb(const std::string& word) {
  const auto* const row = std::find_if(kVerbs.begin(), kVerbs.end(),
                                       [&](const VerbRow& each) { return each.word == word; });
  if (row == kVerbs.end()) {
    throw UsageError(fmt::format("'{}' is none of the verbs: nbdstack-s3 --help shows them", word));
  }
  return row->verb;
}

// Returns null if `word` is no option. Throws UsageError if the verb does not have the option.
const OptionRow* find_option(const std::string& word, Verb verb) {
  const auto* const row = std::find_if(kOptions.begin(), kOptions.end(),
                                       [&](const OptionRow& each) { return each.word == word; });
  if (row == kOptions.end()) throw UsageError(fmt::format("there is no option {}", word));
  const std::string between = fmt::format(" {} ", word_of(verb));
  if (!row->verbs.empty() && row->verbs.find(between) == std::string_view::npos) {
    throw UsageError(fmt::format("{} is no option of {}", word, word_of(verb)));
  }
  return row;
}

bool is_among(const std::vector<std::string>& words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

ParameterTable own_table(std::string& new_passphrase, std::string& prices) {
  return ParameterTable(
      {password_parameter("new-passphrase", new_passphrase,
                          "passphrase: what takes the place of passphrase="),
       path_parameter("prices", prices, "show: what requests cost, as for nbdstack-metrics")});
}

}  // namespace

CommandLine::CommandLine(const std::vector<std::string>& words)
    : table_(parameters_.table()), own_table_(own_table(new_passphrase_, prices_)) {
  if (is_among(words, "--help")) return;
  if (is_among(words, "--version")) {
    verb_ = Verb::version;
    return;
  }
  const auto verb = std::find_if(words.begin(), words.end(),
                                 [](const std::string& word) { return !word.starts_with('-'); });
  if (verb == words.end()) throw UsageError("a verb is missing: nbdstack-s3 --help shows them");
  verb_ = parse_verb(*verb);
  for (auto word = words.begin(); word != words.end(); ++word) {
    const std::size_t equals = word->find('=');
    if (word->starts_with('-')) {
      take_option(*word);
    } else if (equals != std::string::npos) {
      take_parameter(word->substr(0, equals), word->substr(equals + 1));
    } else if (word != verb) {
      take_parameter("bucket", *word);
    }
  }
  check();
}

void CommandLine::take_option(const std::string& word) {
  const std::string_view option = find_option(word, verb_)->word;
  force_ = force_ || option == "--force";
  yes_ = yes_ || option == "--yes";
  renew_ = renew_ || option == "--renew";
  versions_ = versions_ || option == "--versions";
  json_ = json_ || option == "--json";
  progress_ = progress_ || option == "--progress";
  verbose_ = verbose_ || option == "--verbose";
}

void CommandLine::take_parameter(const std::string& name, const std::string& value) {
  try {
    if (own_table_.set(name, value) || table_.set(name, value)) return;
  } catch (const Error& error) {
    throw UsageError(error.what());
  }
  std::vector<std::string_view> names = own_table_.names();
  for (const std::string_view known : table_.names()) names.push_back(known);
  const std::string_view meant = nearest_name(name, names);
  throw UsageError(fmt::format("there is no parameter {}{}", name,
                               meant.empty() ? "" : fmt::format(": did you mean {}?", meant)));
}

void CommandLine::check() {
  try {
    parameters_.check();
  } catch (const Error& error) {
    throw UsageError(error.what());
  }
  const VolumeRequest& request = parameters_.serving().request;
  const bool needs_size = verb_ == Verb::create || verb_ == Verb::resize;
  if (needs_size && !request.size_bytes.has_value()) {
    throw UsageError(fmt::format("{} needs size=", word_of(verb_)));
  }
  if (verb_ == Verb::passphrase) {
    if (!request.passphrase.has_value() || new_passphrase_.empty()) {
      throw UsageError("passphrase needs passphrase= (the present one) and new-passphrase=");
    }
  } else if (!new_passphrase_.empty()) {
    throw UsageError("new-passphrase= is for the verb passphrase only");
  }
  if (verb_ != Verb::show && !prices_.empty()) {
    throw UsageError("prices= is for the verb show only");
  }
}

std::string CommandLine::help() {
  std::string text =
      "Usage: nbdstack-s3 VERB bucket=NAME[/KEY] [PARAMETER=VALUE ...] [OPTION ...]\n\n"
      "Works on the volumes of nbdkit's s3 plugin of nbdstack.\n\nVerbs:\n";
  for (const VerbRow& row : kVerbs) text += fmt::format("  {:<12} {}\n", row.word, row.help);
  text += "\nOptions:\n";
  for (const OptionRow& row : kOptions) text += fmt::format("  {:<12} {}\n", row.word, row.help);
  S3Parameters parameters;
  std::string new_passphrase;
  std::string prices;
  text += "\nParameters of its own:\n" + own_table(new_passphrase, prices).help();
  return text + "\n\nParameters of the s3 plugin:\n" + parameters.table().help() + "\n";
}

}  // namespace nbdstack
