#include "tools/metrics/metrics_options.hpp"

#include <fmt/format.h>
#include <getopt.h>

#include <array>
#include <filesystem>

#include "common/parse_number.hpp"
#include "tools/stacks/stacks.hpp"

namespace nbdstack {
namespace {

using Action = MetricsOptions::Action;

enum Option : int { kListen = 256, kFile, kInterval, kPrices, kHelp, kVersion };

constexpr auto kOptions =
    std::to_array<option>({{"listen", required_argument, nullptr, kListen},
                           {"file", required_argument, nullptr, kFile},
                           {"interval", required_argument, nullptr, kInterval},
                           {"prices", required_argument, nullptr, kPrices},
                           {"help", no_argument, nullptr, kHelp},
                           {"version", no_argument, nullptr, kVersion},
                           {nullptr, 0, nullptr, 0}});

std::chrono::seconds parse_interval(const std::string& text) {
  unsigned seconds = 0;
  if (!parse_number(text, seconds) || seconds == 0 || seconds > 86400) {
    throw UsageError(fmt::format("--interval={} is no number of seconds from 1 to 86400", text));
  }
  return std::chrono::seconds(seconds);
}

void set_action(MetricsOptions& options, Action action) {
  if (options.action != Action::print && options.action != action) {
    throw UsageError("--listen and --file are two ways to show the metrics: give one");
  }
  options.action = action;
}

void take_option(MetricsOptions& options, int option, const std::string& value, const char* word) {
  switch (option) {
    case kListen:
      set_action(options, Action::listen);
      options.listen = value;
      break;
    case kFile:
      set_action(options, Action::write_file);
      options.file = value;
      break;
    case kInterval:
      options.interval = parse_interval(value);
      break;
    case kPrices:
      options.prices = read_prices(value);
      break;
    default:
      throw UsageError(fmt::format(
          "{} is no option, or lacks a value: nbdstack-metrics --help shows them", word));
  }
}

}  // namespace

MetricsOptions parse_metrics_options(int argc, char** argv) {
  MetricsOptions options;
  optind = 0;
  opterr = 0;
  for (int option = 0; (option = ::getopt_long(argc, argv, "", kOptions.data(), nullptr)) != -1;) {
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

std::string metrics_help() {
  return "Usage: nbdstack-metrics [OPTION ...] [DIRECTORY ...]\n\n"
         "Shows the metrics of all stacks of nbdstack in DIRECTORY, one text for Prometheus: of\n"
         "all nbdkits of this machine with the parameter metrics=NAME if there is no DIRECTORY.\n"
         "Without options it prints them once.\n\n"
         "Options:\n"
         "  --listen=ADDRESS   answer GET /metrics at PORT (on 127.0.0.1), ADDRESS:PORT, or\n"
         "                     unix:PATH\n"
         "  --file=PATH        replace this file every interval\n"
         "  --interval=SECONDS [default: 15]\n"
         "  --prices=FILE      what requests cost; without it, AWS's prices of S3 Standard\n"
         "  --help             print this, and nothing else\n"
         "  --version          print the version, and nothing else\n";
}

}  // namespace nbdstack
