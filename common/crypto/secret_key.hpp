// A key of 256 bits, and the randomness of keys, nonces and salts.
//
// A key is wiped from memory when its object is destroyed, moved from or assigned to. It is moved,
// never copied, and there is deliberately no way to print it.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string_view>

namespace nbdstack {

// Fills in bytes from OpenSSL's generator for secrets. Throws Error(EIO) if it has no entropy.
void fill_random(std::span<std::byte> place);

class SecretKey {
 public:
  static constexpr std::size_t kBytes = 32;
  using Bytes = std::array<std::byte, kBytes>;

  // Makes a key that is not secret, to be overwritten through buffer().
  SecretKey() = default;
  SecretKey(const SecretKey&) = delete;
  SecretKey& operator=(const SecretKey&) = delete;
  SecretKey(SecretKey&& other) noexcept;
  SecretKey& operator=(SecretKey&& other) noexcept;
  ~SecretKey();

  static SecretKey random();

  [[nodiscard]] std::span<const std::byte, kBytes> bytes() const { return bytes_; }
  [[nodiscard]] std::span<std::byte, kBytes> buffer() { return bytes_; }

  // Returns the HMAC-SHA256 by this key of `label`, a zero byte and `context`. Every purpose has
  // its own label, so that a key derived for one reveals nothing about the others.
  void derive(std::string_view label, std::span<const std::byte> context,
              std::span<std::byte, kBytes> derived) const;

 private:
  void wipe();

  Bytes bytes_{};
};

}  // namespace nbdstack
