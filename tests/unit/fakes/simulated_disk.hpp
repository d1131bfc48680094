// A disk in memory that forgets what was not synced, as far as the contract of Directory lets it
// (common/io/directory.hpp): sector by sector, in any order, names as well as bytes.
//
// A hook is called before each operation that changes anything: there a test takes a copy() of the
// disk and lets that crash(), or throws Error to make the operation fail.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "common/io/directory.hpp"

namespace nbdstack::testing {

class SimulatedDisk {
 public:
  enum class Kind : std::uint8_t { create, write, punch, sync, rename, remove, sync_directory };
  struct Operation {
    Kind kind;
    std::string name;
  };
  using Hook = std::function<void(const Operation&)>;

  SimulatedDisk();
  ~SimulatedDisk();
  SimulatedDisk(SimulatedDisk&&) noexcept;
  SimulatedDisk& operator=(SimulatedDisk&&) noexcept;

  // May outlive this object; what it opens refers to the same disk.
  [[nodiscard]] std::unique_ptr<Directory> directory() const;
  void set_hook(Hook hook);

  // With everything that is not synced yet, and without the hook.
  [[nodiscard]] SimulatedDisk copy() const;
  // Loses some of what is not synced: nothing, all, everything after some moment, or at random.
  void crash(std::uint64_t seed);

  // For damage: bytes of a file as it is now, and durably.
  void overwrite(const std::string& name, std::uint64_t offset, std::byte value);
  // The file has this content and no other, durably; or there is none.
  void replace(const std::string& name, std::vector<std::byte> content);
  void lose(const std::string& name);
  [[nodiscard]] std::vector<std::byte> content(const std::string& name) const;
  [[nodiscard]] std::vector<std::string> names() const;

 private:
  struct State;
  class Handle;
  class FileHandle;

  std::shared_ptr<State> state_;
};

}  // namespace nbdstack::testing
