// The values of nbdkit's own options that layers need and nbdkit does not tell them in time.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace nbdstack {

// An option of a command line: its letter, or its name in full, and its value.
struct GivenOption {
  std::string name;
  std::string value;
};

// Returns the options in the words of nbdkit's command line, without its name, as nbdkit reads
// them, also behind the plugin. Only words that nbdkit has accepted give a valid result.
std::vector<GivenOption> read_options(const std::vector<std::string>& words);

// Returns the options of this process's command line; empty if that cannot be read.
std::vector<GivenOption> options_of_server();

// Returns whether these words of nbdkit's command line, without its name, contain -r (--readonly,
// --read-only): then no client may write, and no layer may write without a client, either.
bool is_readonly(const std::vector<std::string>& words);

// Both apply is_readonly() to this process's command line. If that cannot be read, the first
// returns false and the second true.
bool is_readonly_server();
bool may_be_readonly_server();

// Returns whether nbdkit's filter exitlast may be in this process's stack: it ends the server when
// the last connection is closed, also if that was one of our own before the first client.
bool may_end_with_last_connection();

// Returns whether a filter below our filter `own` in the stack of this command line may show other
// content than the plugin's, as swab and cow do, at the same size. The disk identity that the
// plugin reports does not apply to such a view. In doubt, returns true.
bool may_change_the_disk(const std::vector<std::string>& words, std::string_view own);

// Applies may_change_the_disk() to this process's command line.
bool may_change_the_disk_below(std::string_view own);

}  // namespace nbdstack
