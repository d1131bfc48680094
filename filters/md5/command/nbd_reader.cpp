#include "filters/md5/command/nbd_reader.hpp"

#include <libnbd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <system_error>
#include <utility>

#include "common/error.hpp"

namespace nbdstack {
namespace {

// The limit if the server reports none (the NBD protocol, "Block size constraints").
constexpr std::uint32_t kUsualLongest_bytes = 32U << 20U;

// Returns the error of libnbd's last call on this thread.
Error nbd_error() {
  const char* const words = nbd_get_error();
  return Error(nbd_get_errno(), words == nullptr ? "libnbd failed" : words);
}

// libnbd's calls return -1 on failure.
template <typename Number>
Number checked(Number returned) {
  if (returned == -1) throw nbd_error();
  return returned;
}

std::shared_ptr<const DiskIdentity> identity_told(nbd_handle* handle, std::uint64_t size_bytes) {
  const std::unique_ptr<char, decltype(&std::free)> description(nbd_get_export_description(handle),
                                                                &std::free);
  if (description == nullptr) return nullptr;
  const auto told = DiskIdentity::parse(description.get());
  if (!told || told->size_bytes != size_bytes) return nullptr;
  return std::make_shared<const DiskIdentity>(*told);
}

}  // namespace

void NbdReader::Close::operator()(nbd_handle* handle) const {
  nbd_close(handle);
}

NbdReader::NbdReader(const std::string& uri) : handle_(nbd_create()) {
  if (handle_ == nullptr) throw nbd_error();
  // A URI may name a file with keys for TLS: it comes from the user of this command.
  checked(nbd_set_uri_allow_local_file(handle_.get(), true));
  checked(nbd_set_full_info(handle_.get(), true));
  checked(nbd_connect_uri(handle_.get(), uri.c_str()));
  size_bytes_ = static_cast<std::uint64_t>(checked(nbd_get_size(handle_.get())));
  const auto smallest = checked(nbd_get_block_size(handle_.get(), LIBNBD_SIZE_MINIMUM));
  const auto longest = checked(nbd_get_block_size(handle_.get(), LIBNBD_SIZE_MAXIMUM));
  alignment_bytes_ = smallest > 0 ? static_cast<std::uint32_t>(smallest) : 1;
  longest_request_bytes_ = kUsualLongest_bytes;
  if (longest > 0 && longest < kUsualLongest_bytes) {
    longest_request_bytes_ = static_cast<std::uint32_t>(longest);
  }
  identity_ = identity_told(handle_.get(), size_bytes_);
  can_flush_ = nbd_can_flush(handle_.get()) == 1;
}

NbdReader::~NbdReader() {
  if (under_way_.empty() && nbd_aio_is_ready(handle_.get()) == 1) {
    nbd_shutdown(handle_.get(), 0);
  }
}

void NbdReader::start(std::uint64_t read, std::span<std::byte> buffer, std::uint64_t offset) {
  const std::size_t longest = longest_request_bytes_;
  Progress& progress =
      under_way_.emplace(read, Progress{this, read, (buffer.size() + longest - 1) / longest, 0})
          .first->second;
  for (std::size_t begin = 0; begin < buffer.size(); begin += longest) {
    const auto part = buffer.subspan(begin, std::min(longest, buffer.size() - begin));
    const nbd_completion_callback done = {
        .callback = on_request_done, .user_data = &progress, .free = nullptr};
    if (nbd_aio_pread(handle_.get(), part.data(), part.size(), offset + begin, done, 0) == -1)
      fail();
  }
}

// Returns 1, so that libnbd may forget the request.
int NbdReader::on_request_done(void* progress, int* code) noexcept {
  auto& mine = *static_cast<Progress*>(progress);
  if (mine.code == 0) mine.code = *code;
  if (--mine.requests == 0) mine.owner->note_end(mine);
  return 1;
}

void NbdReader::note_end(const Progress& progress) {
  done_.push_back(progress);
}

void NbdReader::flush() {
  if (!can_flush_ || nbd_flush(handle_.get(), 0) == 0) return;
  fail();
}

std::vector<ExportReader::Outcome> NbdReader::wait() {
  while (done_.empty()) {
    if (nbd_poll(handle_.get(), -1) == -1) fail();
  }
  expect_connected();
  std::vector<Outcome> outcomes;
  for (const Progress& ended : std::exchange(done_, {})) {
    if (ended.code == ESHUTDOWN) throw Error(ENOTCONN, "the server stops");
    outcomes.push_back({ended.read, ended.code == 0 ? std::string()
                                                    : std::generic_category().message(ended.code)});
    under_way_.erase(ended.read);
  }
  return outcomes;
}

// Throws with the words of libnbd's last call, unless there is a plain reason.
void NbdReader::fail() const {
  const Error error = nbd_error();
  expect_connected();
  throw Error(error);
}

// All requests fail with a connection, which is no evidence about blocks.
void NbdReader::expect_connected() const {
  if (nbd_aio_is_dead(handle_.get()) == 1 || nbd_aio_is_closed(handle_.get()) == 1) {
    throw Error(ENOTCONN, "the connection to the server was lost");
  }
}

}  // namespace nbdstack
