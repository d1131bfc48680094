// What pages of a disk may hold after a crash: what they held when they were last made durable, or
// anything that was written to them since.
//
// A page's content is a stamp for each of its sectors: the number of the write that put it there,
// and 0 for zeros. Each sector's bytes are made of its stamp, its number and the page's, so that no
// other content is taken for it. It does not matter what is between the client and the disk: a
// store, or a whole cache.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

namespace nbdstack::testing {

inline constexpr std::size_t kSector_bytes = 512;
inline constexpr std::size_t kPage_bytes = 4096;
inline constexpr std::size_t kSectors = kPage_bytes / kSector_bytes;

using PageContent = std::array<std::uint64_t, kSectors>;  // stamps

inline void fill(std::span<std::byte> bytes, std::uint64_t page, const PageContent& content) {
  for (std::size_t sector = 0; sector < kSectors; ++sector) {
    std::array<std::uint64_t, kSector_bytes / 8> words{};
    if (content[sector] != 0) words.fill(content[sector] << 32U | page << 8U | sector);
    std::memcpy(&bytes[sector * kSector_bytes], words.data(), kSector_bytes);
  }
}

inline bool holds(std::span<const std::byte> bytes, std::uint64_t page,
                  const PageContent& content) {
  std::array<std::byte, kPage_bytes> expected{};
  fill(expected, page, content);
  return std::memcmp(expected.data(), bytes.data(), kPage_bytes) == 0;
}

class PageHistory {
 public:
  explicit PageHistory(std::size_t pages) : versions_(pages, std::vector<PageContent>(1)) {}

  [[nodiscard]] std::size_t pages() const { return versions_.size(); }
  [[nodiscard]] const PageContent& latest(std::uint64_t page) const {
    return versions_[page].back();
  }
  [[nodiscard]] bool allows(std::uint64_t page, std::span<const std::byte> bytes) const {
    for (const PageContent& version : versions_[page]) {
      if (holds(bytes, page, version)) return true;
    }
    return false;
  }
  void changed(std::uint64_t page, const PageContent& content) {
    versions_[page].push_back(content);
  }
  // After a crash: what was found is what is durable.
  void reset(std::uint64_t page, const PageContent& content) { versions_[page] = {content}; }

  // What is there at this moment; made_durable() then says that it, or what came later, stays.
  using Moment = std::vector<std::size_t>;
  [[nodiscard]] Moment now() const {
    Moment moment;
    for (const auto& versions : versions_) moment.push_back(versions.size());
    return moment;
  }
  void made_durable(const Moment& moment) {
    for (std::size_t page = 0; page < versions_.size(); ++page) {
      auto& versions = versions_[page];
      versions.erase(versions.begin(),
                     versions.begin() + static_cast<std::ptrdiff_t>(moment[page] - 1));
    }
  }

 private:
  std::vector<std::vector<PageContent>> versions_;  // never empty
};

}  // namespace nbdstack::testing
