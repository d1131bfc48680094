#include "plugins/s3/blocks/block_listing.hpp"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "common/error.hpp"
#include "common/sync/mutex.hpp"

namespace nbdstack {
namespace {

constexpr std::size_t kPage = 1000;  // S3's limit
constexpr std::string_view kHashDigits = "0123456789abcdef";

// ObjectStore's list(), or list_in_order().
using List = std::function<bool(const std::string& prefix, const std::string& start_after,
                                const std::function<bool(const ListedObject&)>& visit)>;

struct Part {
  BlockNumber first;
  BlockNumber end;
};

// Returns the longest common prefix of the names of first ... last, which are ordered.
std::string common_prefix(const BlockFormat& format, BlockNumber first, BlockNumber last) {
  const std::string a = format.name_of(first);
  const std::string b = format.name_of(last);
  return {a.begin(), std::mismatch(a.begin(), a.end(), b.begin()).first};
}

// Passes the listed keys on, a page at a time, whether they are blocks or not: after each page the
// listing can be ended, and `shorten` may move the end of the part. Returns false if `list` does.
bool list_part(const List& list, const BlockFormat& format, Part part,
               const BlockListing::Visit& visit, const std::function<void(Part&)>& shorten) {
  if (part.first >= part.end) return true;
  std::vector<ListedBlock> page;
  std::size_t keys = 0;
  bool wanted = true;
  const auto hand_on = [&](BlockNumber end) {
    wanted = visit({.blocks = std::exchange(page, {}), .first = part.first, .end = end});
    part.first = end;
  };
  const std::string start_after =
      part.first.value == 0 ? std::string() : format.name_of({part.first.value - 1});
  const bool is_listed = list(common_prefix(format, part.first, {part.end.value - 1}), start_after,
                              [&](const ListedObject& object) {
                                const auto block = format.parse_name(object.key);
                                if (block.has_value() && *block >= part.end) return false;
                                if (block.has_value())
                                  page.push_back({*block, object.size_bytes, object.etag});
                                if (++keys % kPage != 0) return true;
                                hand_on(page.empty() ? part.first : page.back().block.next());
                                shorten(part);
                                return wanted && part.first < part.end;
                              });
  if (!is_listed) return false;
  if (wanted && part.first < part.end) hand_on(part.end);
  return true;
}

}  // namespace

// The parts that are not listed yet, shared by the threads that list.
class BlockListing::Work {
 public:
  Work(Part whole, std::size_t threads, const Visit& visit)
      : visit_(visit), threads_(threads), waiting_parts_{whole} {}

  // Waits for a part. Returns nothing if all is listed, or no more is wanted.
  std::optional<Part> take() {
    const MutexLock lock(mutex_);
    while (!ended_ && waiting_parts_.empty() && working_ > 0) changed_.wait(mutex_);
    if (ended_ || waiting_parts_.empty()) return std::nullopt;
    const Part part = waiting_parts_.front();
    waiting_parts_.pop_front();
    ++working_;
    return part;
  }

  void give_back() {
    const MutexLock lock(mutex_);
    --working_;
    changed_.notify_all();
  }

  // Gives half of the rest to an idle thread, if there is one.
  void share(Part& part) {
    const MutexLock lock(mutex_);
    if (working_ + waiting_parts_.size() >= threads_ || halvings_left_ == 0) return;
    const std::uint64_t left = part.end.value - part.first.value;
    if (left < 2 * kPage) return;  // two requests at most, for one
    --halvings_left_;
    const BlockNumber middle{part.first.value + left / 2};
    waiting_parts_.push_back({middle, part.end});
    part.end = middle;
    changed_.notify_all();
  }

  bool visit(const ListedBlocks& listed) {
    const MutexLock lock(visiting_);
    if (has_ended()) return false;
    has_visited_ = true;
    if (visit_(listed)) return true;
    end();
    return false;
  }

  void end() {
    const MutexLock lock(mutex_);
    ended_ = true;
    changed_.notify_all();
  }

  // Called if a part cannot be listed, because the store does not list in order.
  void note_disorder() {
    end();
    is_out_of_order_ = true;
  }

  // Valid when all threads have ended. Blocks passed on before a disorder was seen may be
  // incomplete.
  [[nodiscard]] bool was_in_order() const {
    if (is_out_of_order_ && has_visited_) {
      throw Error(EIO,
                  "the store lists objects in order at first, and then in another: the listing "
                  "has to begin anew");
    }
    return !is_out_of_order_;
  }

 private:
  bool has_ended() {
    const MutexLock lock(mutex_);
    return ended_;
  }

  const Visit& visit_;
  const std::size_t threads_;
  std::atomic<bool> is_out_of_order_{false};
  std::atomic<bool> has_visited_{false};
  Mutex visiting_;  // taken before mutex_: one call of visit_ at a time
  Mutex mutex_;
  ConditionVariable changed_;
  std::deque<Part> waiting_parts_ GUARDED_BY(mutex_);
  std::size_t working_ GUARDED_BY(mutex_) = 0;
  std::size_t halvings_left_ GUARDED_BY(mutex_) = BlockListing::kHalvings_max;
  bool ended_ GUARDED_BY(mutex_) = false;
};

void BlockListing::run(BlockNumber first, BlockNumber end, const Visit& visit) {
  if (first >= end) return;
  if (!format_.names_are_ordered()) {
    run_hashed(first, end, visit);
  } else if (!store_.lists_in_order() || !run_in_parts(first, end, visit)) {
    run_as_a_whole(first, end, visit);
  }
}

bool BlockListing::run_in_parts(BlockNumber first, BlockNumber end, const Visit& visit) {
  const List list = [this](const auto& prefix, const auto& start_after, const auto& visit_object) {
    return store_.list_in_order(prefix, start_after, visit_object);
  };
  Work work({first, end}, requests_, visit);
  pool_.run(
      requests_,
      [&](std::size_t /*thread*/) {
        while (const auto part = work.take()) {
          try {
            const bool is_listed = list_part(
                list, format_, *part, [&](const auto& listed) { return work.visit(listed); },
                [&](Part& rest) { work.share(rest); });
            if (!is_listed) work.note_disorder();
          } catch (...) {
            work.end();
            work.give_back();
            throw;
          }
          work.give_back();
        }
      },
      WorkerPool::OnFailure::finish);
  return work.was_in_order();
}

void BlockListing::run_in_order(ObjectStore& store, const BlockFormat& format, BlockNumber first,
                                BlockNumber end, const Visit& visit) {
  const List list = [&](const auto& prefix, const auto& start_after, const auto& visit_object) {
    store.list(prefix, start_after, visit_object);
    return true;
  };
  list_part(list, format, {first, end}, visit, [](Part& /*part*/) {});
}

// Checks every object of the volume, whatever the range.
void BlockListing::run_as_a_whole(BlockNumber first, BlockNumber end, const Visit& visit) {
  bool wanted = true;
  list_all(format_.prefix(), first, end, [&](std::vector<ListedBlock>& page) {
    wanted = visit({.blocks = std::exchange(page, {}), .first = first, .end = first});
    return wanted;
  });
  if (wanted) visit({.blocks = {}, .first = first, .end = end});
}

void BlockListing::run_hashed(BlockNumber first, BlockNumber end, const Visit& visit) {
  std::vector<ListedBlock> all;
  std::size_t keys = 0;
  store_.list_in_any_order(format_.prefix(), [&](const ListedObject& object) {
    add(object, first, end, all);
    return ++keys <= kPage;
  });
  if (keys <= kPage) {
    visit({.blocks = std::move(all), .first = first, .end = end});
    return;
  }
  if (!store_.lists_in_order()) {
    run_as_a_whole(first, end, visit);
    return;
  }
  Mutex visiting;
  bool wanted = true;
  const auto hand_on = [&](std::vector<ListedBlock>& page) {
    const MutexLock lock(visiting);
    if (wanted) wanted = visit({.blocks = std::exchange(page, {}), .first = first, .end = first});
    return wanted;
  };
  pool_.run(
      kHashDigits.size(),
      [&](std::size_t digit) {
        {
          const MutexLock lock(visiting);
          if (!wanted) return;
        }
        try {
          list_all(format_.prefix() + kHashDigits[digit], first, end, hand_on);
        } catch (...) {
          const MutexLock lock(visiting);
          wanted = false;  // the others end with the page they are at
          throw;
        }
      },
      WorkerPool::OnFailure::stop);
  if (wanted) visit({.blocks = {}, .first = first, .end = end});
}

void BlockListing::list_all(const std::string& prefix, BlockNumber first, BlockNumber end,
                            const HandOn& hand_on) {
  std::vector<ListedBlock> page;
  std::size_t keys = 0;
  bool wanted = true;
  store_.list_in_any_order(prefix, [&](const ListedObject& object) {
    add(object, first, end, page);
    if (++keys % kPage == 0) wanted = hand_on(page);
    return wanted;
  });
  if (wanted && !page.empty()) hand_on(page);
}

void BlockListing::add(const ListedObject& object, BlockNumber first, BlockNumber end,
                       std::vector<ListedBlock>& blocks) const {
  const auto block = format_.parse_name(object.key);
  if (block.has_value() && *block >= first && *block < end) {
    blocks.push_back({*block, object.size_bytes, object.etag});
  }
}

}  // namespace nbdstack
