// An export of any NBD server, read by libnbd: one connection, many requests.
//
// One thread uses it. Errors name the URI's server in libnbd's words; the code is ENOTCONN if the
// connection is lost or the server stops.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "common/block/disk_identity.hpp"
#include "filters/md5/command/export_reader.hpp"

struct nbd_handle;

namespace nbdstack {

class NbdReader final : public ExportReader {
 public:
  explicit NbdReader(const std::string& uri);
  // Disconnects properly if no request is in flight, else abruptly.
  ~NbdReader() override;

  // Reads must begin and end at multiples of this.
  [[nodiscard]] std::uint32_t alignment_bytes() const { return alignment_bytes_; }

  // The server's report about its disk (common/block/disk_identity.hpp); null if there is none, or
  // it is about a disk of another size.
  [[nodiscard]] const std::shared_ptr<const DiskIdentity>& identity() const { return identity_; }

  [[nodiscard]] std::uint64_t size_bytes() const override { return size_bytes_; }
  [[nodiscard]] std::uint32_t longest_request_bytes() const override {
    return longest_request_bytes_;
  }
  void start(std::uint64_t read, std::span<std::byte> buffer, std::uint64_t offset) override;
  void flush() override;
  std::vector<Outcome> wait() override;

 private:
  // A read that is split into requests ends when they all have.
  struct Progress {
    NbdReader* owner;
    std::uint64_t read;
    std::size_t requests;
    int code;  // errno of the first failure, or 0
  };
  struct Close {
    void operator()(nbd_handle* handle) const;
  };

  static int on_request_done(void* progress, int* code) noexcept;
  void note_end(const Progress& progress);
  [[noreturn]] void fail() const;
  void expect_connected() const;

  std::unique_ptr<nbd_handle, Close> handle_;
  std::uint64_t size_bytes_ = 0;
  std::uint32_t alignment_bytes_ = 1;
  std::uint32_t longest_request_bytes_ = 0;
  bool can_flush_ = false;
  std::shared_ptr<const DiskIdentity> identity_;
  std::map<std::uint64_t, Progress> under_way_;  // libnbd has pointers to its values
  std::vector<Progress> done_;
};

}  // namespace nbdstack
