// What a layer has to know of nbdkit's own options, and nbdkit does not tell it, or not in time.
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

// The options among the words of nbdkit's command line, without its name, as nbdkit reads them: also
// behind the plugin. They are words that nbdkit has accepted; of others nothing is sure.
std::vector<GivenOption> read_options(const std::vector<std::string>& words);

// The same of this process's command line; none if that cannot be read.
std::vector<GivenOption> options_of_server();

// Whether these words of nbdkit's command line, without its name, contain -r (--readonly,
// --read-only): no client may write then, and nothing may be written without one either.
bool is_readonly(const std::vector<std::string>& words);

// The same of this process's command line. Where that cannot be read: no, and yes.
bool is_readonly_server();
bool may_be_readonly_server();

// Whether nbdkit's filter exitlast may be in this process's stack: it ends the server when the last
// connection is closed, also when that was one of our own and no client has come yet.
bool may_end_with_last_connection();

// Whether a filter that stands below our filter `own` in the stack of this command line may show
// another content than the plugin's, as swab and cow do, at the same size. What the plugin tells of
// its disk says nothing of such a view. Where in doubt: yes.
bool may_change_the_disk(const std::vector<std::string>& words, std::string_view own);

// The same of this process's command line.
bool may_change_the_disk_below(std::string_view own);

}  // namespace nbdstack
