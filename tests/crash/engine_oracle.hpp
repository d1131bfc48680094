// What a client of the cache may find: PageHistory, and pages of which nothing is said because they
// were trimmed around the cache.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "tests/crash/page_history.hpp"

namespace nbdstack::testing {

// Pages of a request: [first, end).
struct PageRun {
  std::uint64_t first = 0;
  std::uint64_t end = 0;
};

class EngineOracle {
 public:
  explicit EngineOracle(std::size_t pages, const EngineOracle* fallback = nullptr)
      : history_(pages), unspecified_(pages), in_change_(pages), fallback_(fallback) {}

  [[nodiscard]] std::size_t pages() const { return history_.pages(); }
  [[nodiscard]] const PageContent& latest(std::uint64_t page) const {
    return history_.latest(page);
  }
  [[nodiscard]] bool allows(std::uint64_t page, std::span<const std::byte> bytes) const {
    if (unspecified_[page]) return holds(bytes, page, content_of(bytes));
    return history_.allows(page, bytes) || (in_change_[page] && fallback_->allows(page, bytes));
  }
  void changed(std::uint64_t page, const PageContent& content) { history_.changed(page, content); }
  // Anything that the page ever held, until its latest content is kept.
  void unspecified(std::uint64_t page) { unspecified_[page] = true; }
  // What the fallback allows will do, too, until the latest content is kept: kill -9 may cost what
  // is being overwritten at that moment.
  void in_change(std::uint64_t page) { in_change_[page] = true; }

  [[nodiscard]] PageHistory::Moment now() const { return history_.now(); }
  // What was there at that moment stays, or what came later.
  void keep(const PageHistory::Moment& moment) { keep({0, pages()}, moment); }
  void keep(const PageRun& run) { keep(run, now()); }
  void keep() { keep(now()); }
  void keep(const PageRun& run, const PageHistory::Moment& latest) {
    PageHistory::Moment moment(pages(), 1);
    for (std::uint64_t page = run.first; page < run.end; ++page) {
      moment[page] = latest[page];
      unspecified_[page] = false;
      in_change_[page] = false;
    }
    history_.made_durable(moment);
  }
  void reset(std::uint64_t page, const PageContent& content) {
    history_.reset(page, content);
    unspecified_[page] = false;
    in_change_[page] = false;
  }

  // The stamps of a page's bytes, whoever wrote them.
  static PageContent content_of(std::span<const std::byte> bytes) {
    PageContent content{};
    for (std::size_t sector = 0; sector < kSectors; ++sector) {
      std::uint64_t word = 0;
      std::memcpy(&word, &bytes[sector * kSector_bytes], sizeof word);
      content[sector] = word >> 32U;
    }
    return content;
  }

 private:
  PageHistory history_;
  std::vector<bool> unspecified_;
  std::vector<bool> in_change_;
  const EngineOracle* fallback_;
};

}  // namespace nbdstack::testing
