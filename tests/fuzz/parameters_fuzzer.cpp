// What the user gives: values of parameters (common/params/parameters.hpp), and nbdkit's command
// line as far as a layer looks at it (server_options.hpp, server_user.hpp).
//
//   any value      is refused by an error that names the parameter, or lies within its bounds
//   a size         that was read is read again as it is shown
//   any words      are looked through, and -r is found behind options that have no value
#include <fmt/core.h>

#include <bit>
#include <limits>

#include "common/nbdkit/server_options.hpp"
#include "common/nbdkit/server_user.hpp"
#include "common/params/parameters.hpp"
#include "common/params/values.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace nbdstack::fuzz {
namespace {

constexpr SizeRange kPowers{.minimum = 4096, .maximum = 1U << 25U, .power_of_two = true};

struct Values {
  std::uint64_t size = 0;
  std::uint64_t power = 4096;
  unsigned number = 5;
  std::uint64_t duration_ms = 0;
  bool flag = false;
  std::string text;
  std::string path;
};

// True: accepted.
bool set(const ParameterTable& table, const std::string& name, const std::string& value) {
  try {
    must(table.set(name, value), "a parameter of the table is known");
    return true;
  } catch (const Error& error) {
    must(std::string_view(error.what()).find(name) != std::string_view::npos,
         "an error names the parameter");
    return false;
  }
}

void check_values(const std::string& value) {
  Values values;
  const ParameterTable table({size_parameter("size", values.size, {}, "", "help"),
                              size_parameter("power", values.power, kPowers, "", "help"),
                              number_parameter("number", values.number, 5, 100, "help"),
                              duration_parameter("duration", values.duration_ms, "help"),
                              bool_parameter("flag", values.flag, "help"),
                              string_parameter("text", values.text, "TEXT", "help"),
                              path_parameter("path", values.path, "help")});
  if (set(table, "size", value)) {
    const std::uint64_t size = values.size;
    must(size <= std::numeric_limits<std::int64_t>::max(), "a size is one that NBD has");
    must(set(table, "size", format_size(size)) && values.size == size,
         "a size is read as it is shown");
  }
  if (set(table, "power", value)) {
    must(std::has_single_bit(values.power) && values.power >= kPowers.minimum &&
             values.power <= kPowers.maximum,
         "a power of two lies within its bounds");
  }
  if (set(table, "number", value)) {
    must(values.number >= 5 && values.number <= 100, "a number lies within its bounds");
  }
  if (set(table, "duration", value)) {
    must(values.duration_ms <= 1'000'000'000'000, "a duration ends before deadlines overflow");
  }
  set(table, "flag", value);
  must(set(table, "text", value) && values.text == value, "a text is taken as it is");
  if (set(table, "path", value)) must(values.path.starts_with('/'), "a path is absolute");
  must(!table.set("another", value), "no other parameter is known");
}

void check_words(std::vector<std::string> words) {
  is_readonly(words);
  for (const char* filter : {"cache", "md5", "nofilter"}) may_change_the_disk(words, filter);
  ServerUserOptions(read_options(words));
  words.insert(words.begin(), {"-f", "--newstyle", "-r"});
  must(is_readonly(words), "-r is found whatever follows");
  words.insert(words.begin(), "--");
  must(!is_readonly(words), "what follows -- is no option");
}

}  // namespace
}  // namespace nbdstack::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace nbdstack;
  std::string text = fuzz::text_of({data, size});
  const std::vector<std::string> words = fuzz::split(text, "\n");
  // A command line has no NUL.
  text.resize(std::min(text.find('\0'), text.size()));
  fuzz::check_values(text);
  fuzz::check_words(words);
  return 0;
}
