// Where the metrics of a stack are: a directory with a file for each of its layers, in Prometheus'
// text format, which nbdstack-metrics, nbdstack-top and node_exporter's textfile collector read.
//
//   LAYER.prom    replaced by rename(2) about once a second while the server runs, removed when it
//                 stops
//   LAYER.lock    the server holds an OFD lock on it, and a server that was killed does not
//
// The directory's own name is the stack's. By default it stands in /run/nbdstack, or in
// $XDG_RUNTIME_DIR/nbdstack for users other than root.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/io/file.hpp"

namespace nbdstack {

// The default place of root's servers.
inline constexpr const char* kStacksOfRoot = "/run/nbdstack";

// Returns the directory that `text`, the value of metrics=, means: a path if there is a '/' in it,
// else a name in the default place. Throws Error(EINVAL) if it is neither.
std::string stack_directory(const std::string& text);

// Returns where stacks are if nobody says otherwise. Throws Error(EINVAL) if the user has no place.
std::string default_stacks();

// Returns the last part of the path.
std::string stack_name(const std::string& directory);

// The files of one layer, for the server that writes them.
class LayerFile {
 public:
  // `directory` exists.
  LayerFile(std::string directory, const std::string& layer);

  // Replaces the text. Throws Error(EBUSY) while another server has this stack's name.
  void write(const std::string& text);
  void remove() noexcept;

 private:
  void take_lock();

  const std::string path_;
  const std::string lock_path_;
  const std::string new_path_;
  std::optional<File> lock_;
};

// One layer, as a reader finds it.
struct FoundLayer {
  std::string stack;
  std::string layer;
  bool is_running = false;  // false if its server was killed
  std::chrono::system_clock::time_point written_at{};
  // Nothing if the name is not that of a regular file, or the file is too long to be a layer's.
  std::optional<std::string> text;
};

constexpr std::uint64_t kMostTextBytes = 16U << 20U;

// Returns the layers of all stacks in `stacks`, sorted; nothing if there is no such directory. A
// file that vanishes meanwhile is left out, and so is a stack whose directory this user may not
// read. Does not wait, whatever kind of file lies there.
std::vector<FoundLayer> find_layers(const std::string& stacks);

}  // namespace nbdstack
