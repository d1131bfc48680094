#include "common/fault/fault.hpp"

#include <algorithm>
#include <new>

#include "common/log.hpp"

namespace nbdstack {
namespace {

bool is_in_a_word(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// FNV-1a over the message, in which each word that holds a digit counts as one and the same word.
std::uint64_t hash_without_numbers(std::string_view message) {
  std::uint64_t hash = 0xcbf29ce484222325;
  const auto add = [&](char c) { hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3; };
  while (!message.empty()) {
    const auto end = std::find_if_not(message.begin(), message.end(), is_in_a_word);
    const std::string_view word =
        message.substr(0, static_cast<std::size_t>(end - message.begin()));
    if (word.empty()) {
      add(message.front());
      message.remove_prefix(1);
    } else {
      const bool is_number = word.find_first_of("0123456789") != std::string_view::npos;
      std::ranges::for_each(is_number ? std::string_view("0") : word, add);
      message.remove_prefix(word.size());
    }
  }
  return hash;
}

}  // namespace

void Fault::failed_with(const char* message, std::optional<std::uint64_t> subject) noexcept {
  MutexLock lock(mutex_);
  last_ = now_();
  if (failures_++ == 0) {
    first_ = last_;
    stands_ = true;
  }
  const bool log_it = subject ? is_new_subject(*subject) : is_new_message(message);
  if (log_it) ++logged_;
  lock.unlock();
  if (log_it) {
    log::write_error(message);
  } else {
    log::debug("not logged again: {}", message);
  }
}

bool Fault::is_new_message(std::string_view message) {
  const std::uint64_t hash = hash_without_numbers(message);
  const auto end = hashes_.begin() + static_cast<std::ptrdiff_t>(messages_);
  if (messages_ == kMostMessages || std::find(hashes_.begin(), end, hash) != end) return false;
  hashes_[messages_++] = hash;
  return true;
}

// Without memory to remember it, a subject is new each time.
bool Fault::is_new_subject(std::uint64_t subject) {
  if (subjects_.size() == kMostSubjects ||
      std::ranges::find(subjects_, subject) != subjects_.end()) {
    return false;
  }
  try {
    subjects_.push_back(subject);
  } catch (const std::bad_alloc&) {
  }
  return true;
}

void Fault::end_if_quiet() noexcept {
  MutexLock lock(mutex_);
  if (failures_ == 0 || now_() - last_ < quiet_) return;
  const std::uint64_t failures = failures_;
  const double seconds = duration_s();
  forget();
  lock.unlock();
  log::error("{} succeed again: {} failed within {:.1f} s", what_, failures, seconds);
}

void Fault::end() noexcept {
  const MutexLock lock(mutex_);
  if (failures_ > logged_) {
    log::error("of the {}, {} failed within {:.1f} s", what_, failures_, duration_s());
  }
  forget();
}

void Fault::forget() {
  failures_ = 0;
  logged_ = 0;
  messages_ = 0;
  subjects_.clear();
  stands_ = false;
}

double Fault::duration_s() const {
  return std::chrono::duration<double>(last_ - first_).count();
}

}  // namespace nbdstack
