#include "tests/crash/engine_below.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <random>

#include "common/error.hpp"

namespace nbdstack::testing {

void FlushedContent::write(std::span<const std::byte> data, std::uint64_t offset,
                           Durability durability) {
  if (data.empty()) return;
  std::memcpy(&current_[offset], data.data(), data.size());
  const std::uint64_t when = ++writes_;
  for (std::uint64_t page = offset / kPage_bytes; page * kPage_bytes < offset + data.size();
       ++page) {
    if (durability == Durability::fua) {
      std::memcpy(&durable_[page * kPage_bytes], &current_[page * kPage_bytes], kPage_bytes);
      unflushed_.erase(page);
    } else {
      Version& version = unflushed_[page].emplace_back();
      version.when = when;
      std::memcpy(version.bytes.data(), &current_[page * kPage_bytes], kPage_bytes);
    }
  }
}

void FlushedContent::flush() {
  durable_ = current_;
  unflushed_.clear();
}

void FlushedContent::crash(std::uint64_t seed) {
  constexpr unsigned kWays = 4;
  constexpr std::uint64_t kLatest = 12;
  std::mt19937_64 random(seed);
  const auto way = static_cast<unsigned>(random() % kWays);
  const std::uint64_t last = writes_ - std::min<std::uint64_t>(writes_, random() % kLatest);
  for (const auto& [page, versions] : unflushed_) {
    for (const Version& version : versions) {
      const bool survives = way == 1 || (way == 2 && version.when <= last) ||
                            (way == 3 && random() % 2 == 0);  // way 0: nothing does
      if (!survives) continue;
      std::memcpy(&durable_[page * kPage_bytes], version.bytes.data(), kPage_bytes);
    }
  }
  current_ = durable_;
  unflushed_.clear();
}

void ForgetfulLayer::pread(std::span<std::byte> buffer, std::uint64_t offset) {
  if (judge_(Op::pread) != Fate::works) throw Error(EIO, "below: the read fails");
  std::memcpy(buffer.data(), &content_.bytes()[offset], buffer.size());
}

void ForgetfulLayer::change(Op op, std::span<const std::byte> data, std::uint64_t offset,
                            Durability durability) {
  const Fate fate = judge_(op);
  if (fate == Fate::works) return content_.write(data, offset, durability);
  if (fate == Fate::half_done) {
    const std::size_t begin = offset % kPage_bytes;
    const std::size_t end = (begin + data.size() / 2) / kPage_bytes * kPage_bytes;
    const std::size_t half = end - std::min(end, begin);
    content_.write(data.first(half), offset, Durability::fua);
  }
  throw Error(EIO, "below: the change fails");
}

void ForgetfulLayer::pwrite(std::span<const std::byte> buffer, std::uint64_t offset,
                            Durability durability) {
  change(Op::pwrite, buffer, offset, durability);
}

void ForgetfulLayer::flush() {
  if (judge_(Op::flush) != Fate::works) throw Error(EIO, "below: the flush fails");
  content_.flush();
}

void ForgetfulLayer::zero(std::uint64_t length, std::uint64_t offset, const ZeroOptions& options) {
  change(Op::zero, std::vector<std::byte>(length), offset, options.durability);
}

void ForgetfulLayer::trim(std::uint64_t length, std::uint64_t offset, Durability durability) {
  change(Op::trim, std::vector<std::byte>(length), offset, durability);
}

void ForgetfulLayer::cache(std::uint64_t /*length*/, std::uint64_t /*offset*/) {
  if (judge_(Op::cache) != Fate::works) throw Error(EIO, "below: the hint fails");
}

void ForgetfulLayer::extents(std::uint64_t length, std::uint64_t offset, bool /*only_one*/,
                             ExtentList& extents) {
  extents.append({offset, length}, kData);
}

}  // namespace nbdstack::testing
