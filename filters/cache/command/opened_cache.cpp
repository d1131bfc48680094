#include "filters/cache/command/opened_cache.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "common/error.hpp"
#include "filters/cache/store/durable/recovery.hpp"

namespace nbdstack {
namespace {

constexpr std::size_t kPiece_bytes = 1U << 20U;

// A directory that does not exist must not be created.
std::unique_ptr<CacheDirectory> acquire(const std::string& given) {
  const std::string path = std::filesystem::absolute(given).string();
  if (::access((path + "/identity").c_str(), F_OK) == -1) {
    throw Error(ENOENT, fmt::format("{} is not the directory of a cache: there is no file "
                                    "\"identity\" in it",
                                    given));
  }
  return CacheDirectory::acquire(path);
}

const char* word_of(UnwrittenPart::Kind kind) {
  switch (kind) {
    case UnwrittenPart::Kind::data:
      return "data";
    case UnwrittenPart::Kind::zeros:
      return "zeros";
    case UnwrittenPart::Kind::damaged:
      return "damaged";
  }
  return "";
}

}  // namespace

OpenedCache::OpenedCache(const std::string& path, const std::optional<std::string>& passphrase)
    : directory_(acquire(path)),
      identity_(*directory_->identity()),
      index_(BlockGeometry(identity_.disk_size_bytes, identity_.block_size_bytes)),
      files_(*directory_, identity_.block_size_bytes,
             passphrase ? directory_->unlock(passphrase) : nullptr) {
  load_index(*directory_, find_files(*directory_), files_, Damaged::salvage, index_);
  survey_ = survey_of(index_);
  parts_ = unwritten_parts(index_);
  for (UnwrittenPart& part : parts_) {
    if (part.kind == UnwrittenPart::Kind::data && !is_intact(index_, part.slot, files_)) {
      part.kind = UnwrittenPart::Kind::damaged;
    }
  }
}

void OpenedCache::expect_readable() const {
  if (!identity_.encryption || files_.is_encrypted()) return;
  throw Error(EACCES, fmt::format("{} is encrypted: to export what it holds takes its passphrase, "
                                  "cache-encrypt=",
                                  directory_->path()));
}

void OpenedCache::put_out(const File& file) const {
  expect_readable();
  if (::ftruncate(file.descriptor(), static_cast<off_t>(identity_.disk_size_bytes)) == -1) {
    throw system_error(errno, "make {} as long as the disk", file.path());
  }
  std::vector<std::byte> buffer;
  for (const UnwrittenPart& part : parts_) {
    if (part.kind != UnwrittenPart::Kind::data) continue;
    const std::uint64_t block = index_.geometry().offset_of(index_[part.slot].block);
    for (std::uint64_t at = part.range.offset; at < part.range.end(); at += buffer.size()) {
      buffer.resize(std::min<std::uint64_t>(kPiece_bytes, part.range.end() - at));
      files_.read(part.slot, buffer, static_cast<std::uint32_t>(at - block),
                  index_[part.slot].copies);
      file.write_at(buffer, at);
    }
  }
  file.sync_data();
}

void OpenedCache::discard() {
  directory_->remove_all();
}

std::string description_of(const OpenedCache& cache) {
  const CacheIdentity& identity = cache.identity();
  std::string text = fmt::format(
      "disk: {}\nterm: {}\nexport: \"{}\"\nsize: {}\nblock size: {}\ncache-id: \"{}\"\n"
      "encrypted: {}\n"
      "clean: {} bytes\nnever written back: {} bytes\n",
      identity.disk_id.empty() ? "not told" : identity.disk_id,
      identity.term ? std::to_string(*identity.term) : "not told", identity.export_name,
      identity.disk_size_bytes, identity.block_size_bytes, identity.cache_id,
      identity.encryption ? "aes-256-xts" : "no", cache.survey().clean_bytes,
      cache.survey().unwritten_bytes);
  for (const UnwrittenPart& part : cache.parts()) {
    text += fmt::format("offset={} length={} {}\n", part.range.offset, part.range.length,
                        word_of(part.kind));
  }
  return text;
}

}  // namespace nbdstack
