// What the tests of the verbs start from: volumes in a store in memory, made as a server makes
// them.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/block/layer.hpp"
#include "common/error.hpp"
#include "plugins/s3/command/found_volume.hpp"
#include "plugins/s3/layout/object_names.hpp"
#include "plugins/s3/volume/volume_open.hpp"
#include "tests/unit/fakes/fake_layer.hpp"
#include "tests/unit/s3/lease/lease_fakes.hpp"
#include "tests/unit/s3/memory_store.hpp"

namespace nbdstack::testing {

using Bytes = std::vector<std::byte>;

class VolumeFixture : public ::testing::Test {
 protected:
  static constexpr std::uint32_t kObjectSize = 4096;
  static constexpr std::uint64_t kBlock = kObjectSize;
  inline static const std::string kDescriptor = "disk/nbdstack-volume.json";

  static VolumeRequest request() { return {.bucket = "b", .key = "disk"}; }
  static std::string name_of(std::uint64_t block) { return ObjectNames("disk").block({block}); }

  void create(std::uint64_t size_bytes, VolumeRequest how = request()) {
    how.size_bytes = size_bytes;
    how.object_size = kObjectSize;
    open_volume(store_, how);
  }
  // With passphrase "secret", whose derivation costs nothing.
  void create_encrypted(std::uint64_t size_bytes) {
    auto descriptor = VolumeDescriptor::make(size_bytes, kObjectSize);
    static_cast<void>(descriptor.encrypt("secret", {.n = 16, .r = 8, .p = 1}));
    store_.place_text(kDescriptor, descriptor.to_json());
  }
  static VolumeRequest encrypted(const std::string& passphrase = "secret") {
    VolumeRequest how = request();
    how.passphrase = passphrase;
    return how;
  }
  VolumeLayout open(const VolumeRequest& how = request()) { return open_volume(store_, how); }
  FoundVolume find(const VolumeRequest& how = request()) { return find_volume(store_, how); }

  void write(const Bytes& data, std::uint64_t offset, const VolumeRequest& how = request()) {
    make_disk(store_, open(how), {.connections = 4})->pwrite(data, offset, Durability::on_flush);
  }
  Bytes read(std::uint64_t length, std::uint64_t offset, const VolumeRequest& how = request()) {
    Bytes data(length);
    make_disk(store_, open(how), {.connections = 4})->pread(data, offset);
    return data;
  }

  // As a damaged disk of the service leaves it.
  void invert_byte(const std::string& key, std::size_t index) {
    Bytes body = store_.body_of(key).value();
    body.at(index) = ~body.at(index);
    store_.place(key, body, store_.attributes_of(key).value());
  }

  // How many objects are blocks of the volume.
  [[nodiscard]] std::size_t stored_blocks() const {
    const ObjectNames names("disk");
    std::size_t count = 0;
    for (const std::string& key : store_.keys()) count += names.parse_block(key) ? 1 : 0;
    return count;
  }

  void drop_everything() {
    for (const std::string& key : store_.keys()) store_.drop(key);
  }

  MemoryStore store_;
};

}  // namespace nbdstack::testing
