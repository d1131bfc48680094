#include "tools/top/top_options.hpp"

#include <fmt/format.h>
#include <getopt.h>

#include <array>
#include <filesystem>

#include "common/parse_number.hpp"
#include "tools/stacks/stacks.hpp"

namespace nbdstack {
namespace {

using Action = TopOptions::Action;

enum Option : int { kOnce = 256, kInterval, kPrices, kHelp, kVersion, kCount = 'n' };

constexpr auto kOptions =
    std::to_array<option>({{"once", no_argument, nullptr, kOnce},
                           {"count", required_argument, nullptr, kCount},
                           {"interval", required_argument, nullptr, kInterval},
                           {"prices", required_argument, nullptr, kPrices},
                           {"help", no_argument, nullptr, kHelp},
                           {"version", no_argument, nullptr, kVersion},
                           {nullptr, 0, nullptr, 0}});

unsigned parse_positive(const char* option, const std::string& text) {
  unsigned number = 0;
  if (!parse_number(text, number) || number == 0 || number > 86400) {
    throw UsageError(fmt::format("{}={} is no number from 1 to 86400", option, text));
  }
  return number;
}

void take_option(TopOptions& options, int option, const std::string& value, const char* word) {
  switch (option) {
    case kOnce:
      options.count = 1;
      break;
    case kCount:
      options.count = parse_positive("--count", value);
      break;
    case kInterval:
      options.interval = std::chrono::seconds(parse_positive("--interval", value));
      break;
    case kPrices:
      options.prices = read_prices(value);
      break;
    default:
      throw UsageError(
          fmt::format("{} is no option, or lacks a value: nbdstack-top --help shows them", word));
  }
}

}  // namespace

TopOptions parse_top_options(int argc, char** argv) {
  TopOptions options;
  optind = 0;
  opterr = 0;
  for (int option = 0;
       (option = ::getopt_long(argc, argv, "n:", kOptions.data(), nullptr)) != -1;) {
    if (option == kHelp || option == kVersion) {
      options.action = option == kHelp ? Action::help : Action::version;
      return options;
    }
    take_option(options, option, optarg == nullptr ? "" : optarg, argv[optind - 1]);
  }
  for (int word = optind; word < argc; ++word) {
    const std::string place = argv[word];
    if (!std::filesystem::is_directory(place)) {
      throw UsageError(fmt::format("{} is no directory of stacks", place));
    }
    options.places.push_back(place);
  }
  if (options.places.empty()) options.places = default_places();
  return options;
}

std::string top_help() {
  return "Usage: nbdstack-top [OPTION ...] [DIRECTORY ...]\n\n"
         "Shows what the stacks of nbdstack in DIRECTORY do, and what they cost: those of all\n"
         "nbdkits of this machine with the parameter metrics=NAME if there is no DIRECTORY. On a\n"
         "terminal it is a view that is drawn anew every interval; q ends it. Elsewhere it is\n"
         "lines of text.\n\n"
         "Options:\n"
         "  --once             show one interval, as lines of text, and end\n"
         "  --count=N          end after N intervals, also as -n N\n"
         "  --interval=SECONDS [default: 2]\n"
         "  --prices=FILE      what requests cost, as for nbdstack-metrics\n"
         "  --help             print this, and nothing else\n"
         "  --version          print the version, and nothing else\n";
}

}  // namespace nbdstack
