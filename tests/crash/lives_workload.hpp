// Histories of a volume and its cache directories: two hosts with a directory each and one without,
// who serve the volume in turn; and the judge of what each of them finds.
//
// A life is one of
//   a writer with a directory   writes, zeroes, reads, flushes, writes back; ends with a stop, a
//                               kill, a power loss, or a crash at any operation on its directory;
//                               or is taken over by another writer while it runs
//   a writer without one        writes, and stops or crashes
//   a reader beside a writer    reads with its directory while somebody without one writes
// and between two of them a directory may be put back as an older copy of it.
//
// What is promised at the start of a life, by the terms that the volume tells:
//   nobody else can have written since    it starts; each page is what was flushed last through
//                                         this directory, or something later
//   somebody may have                     it is refused, or each page is what the volume holds;
//                                         what was flushed and never stored is not dropped in
//                                         silence, and the volume does not change
// and in each life: a page that is read is what was written last; who was taken over fails every
// request, and changes nothing.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "common/sync/worker_pool.hpp"
#include "filters/cache/serving/cache_layer.hpp"
#include "filters/cache/serving/disk_watch.hpp"
#include "filters/cache/store/durable/taking_over.hpp"
#include "tests/crash/shared_volume.hpp"
#include "tests/unit/fakes/simulated_disk.hpp"

namespace nbdstack::testing {

class LivesWorkload {
 public:
  // `knows`: with a record of the disk and its terms, or without, as a control.
  enum class Directories : std::uint8_t { know_their_disk, know_nothing };

  LivesWorkload(std::uint64_t seed, Directories directories)
      : random_(seed), directories_(directories) {
    constexpr std::uint64_t kEncryptedShare = 3;
    if (seed % kEncryptedShare == 0) passphrase_ = "secret";
  }

  // Until that many lives have ended, or a fault was found.
  void run(std::size_t lives);

  [[nodiscard]] std::size_t refusals() const { return refusals_; }
  // Empty: all is well.
  [[nodiscard]] const std::string& fault() const { return fault_; }

 private:
  static constexpr std::uint64_t kPages = SharedVolume::kPages;

  // What each page may be through a directory: the first one is kept, others are later.
  using Versions = std::array<std::vector<std::uint64_t>, kPages>;
  // A directory, and what is known of it.
  struct Directory {
    SimulatedDisk disk;
    Versions versions;
    std::uint64_t term = 0;  // of its last life; 0: it was never used
    bool alone = true;       // in that life
    bool unsure = false;     // a life crashed while it began: it may have recorded its term, or not

    [[nodiscard]] Directory copy() const;
  };
  struct Host {
    Directory directory;
    std::optional<Directory> backup;
  };
  // A server that runs.
  struct Server {
    Server(LivesWorkload& lives, Directory& directory, VolumeView& view, StaleDirty policy);

    WorkerPool no_threads{0};
    std::shared_ptr<CacheDirectory> home;
    std::shared_ptr<DiskWatch> watch;
    std::shared_ptr<BlockCache> cache;
    std::unique_ptr<CacheLayer> layer;
  };
  enum class Found : std::uint8_t { true_still, doubtful, unsure };

  std::uint64_t pick(std::uint64_t bound) { return random_() % bound; }
  bool one_in(std::uint64_t chances) { return pick(chances) == 0; }
  void fail(const std::string& what);

  void live();
  void writer(Host& host);
  void writer_without_directory();
  void reader_beside_a_writer(Host& host);
  void write_directly(VolumeView& view);
  void end_directly(const VolumeView& view);
  void restore(Host& host);

  // Null: it was refused, which may be, or it has crashed.
  std::unique_ptr<Server> start(Directory& directory, VolumeView& view);
  std::unique_ptr<Server> decide(Directory& directory, VolumeView& view);
  void look(Server& server, Directory& directory, Found found);
  void expect_nothing_dropped(const Directory& directory);
  void work(Server& server, Directory& directory, VolumeView& view);
  void step(Server& server, Directory& directory, VolumeView& view);
  void taken_over(Server& server, VolumeView& view);
  void stop(std::unique_ptr<Server> server, Directory& directory, VolumeView& view);
  void crash(std::unique_ptr<Server> server, Directory& directory);
  void settle(Directory& directory, const WriterTerm& term, bool alone);

  std::mt19937_64 random_;
  std::optional<std::string> passphrase_;  // of all directories; nothing: they lie in the clear
  const Directories directories_;
  SharedVolume volume_;
  std::array<Host, 2> hosts_;
  std::uint64_t stamp_ = 0;
  FlushTo flush_to_ = FlushTo::local;
  bool is_dead_ = false;  // the machine of this life has crashed
  std::size_t refusals_ = 0;
  std::string doing_;  // in short, since the beginning
  std::string fault_;
};

}  // namespace nbdstack::testing
