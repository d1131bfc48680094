// The turn to read an object of a directory and then to change it, which one process has at a time.
// A process that is stopped or killed while it has the turn cannot keep it from the others, and
// changes nothing any more when it goes on after they have taken it.
//
//   DIRECTORY/.nbdstack-tmp-turn/NAME/    while a process has the turn; NAME is that turn's own
//   DIRECTORY/.nbdstack-tmp-turn/         empty if no process has it
//
// A turn is prepared under another name and taken by rename(2), which replaces a directory only if
// that is empty. A process that has waited for kLongest for one and the same turn renames it once
// more. So a path below place() is there only while the turn is: a change that is a rename from
// there, or to there, fails with ENOENT when the turn has been taken away, however late it comes.
#pragma once

#include <chrono>
#include <string>

namespace nbdstack {

class Turn {
 public:
  // Much more than looking and renaming take. A process that is slower begins anew.
  static constexpr std::chrono::seconds kLongest{2};

  // Waits for the turn in this directory, which exists. Throws Error of the file system's.
  explicit Turn(const std::string& directory);
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
  ~Turn();

  // The directory by way of which every change goes.
  [[nodiscard]] const std::string& place() const { return place_; }

  // Returns whether others have taken the turn away. A change that found no file then found none
  // for that reason.
  [[nodiscard]] bool is_lost() const;

 private:
  [[nodiscard]] bool try_take(const std::string& prepared) const;

  std::string turn_;
  std::string place_;
};

}  // namespace nbdstack
