// A store in a directory of its own, and its files, for looking at and tampering with.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "common/error.hpp"
#include "plugins/s3/store/directory/directory_store.hpp"
#include "tests/unit/fakes/fake_layer.hpp"

namespace nbdstack::testing {

namespace fs = std::filesystem;
using Bytes = std::vector<std::byte>;

inline constexpr std::size_t kTrailer_bytes = 48;

class DirectoryStoreFixture : public ::testing::Test {
 protected:
  DirectoryStoreFixture() : directory_(make_directory()) {}
  ~DirectoryStoreFixture() override { fs::remove_all(directory_); }

  static fs::path make_directory() {
    std::string path = ::testing::TempDir() + "directory-store-XXXXXX";
    return ::mkdtemp(path.data());
  }
  DirectoryStore open(const std::string& bucket = "bucket") {
    return {directory_, bucket, DirectoryStore::MissingBucket::create};
  }
  [[nodiscard]] fs::path path_of(const std::string& key) const {
    return directory_ / "bucket" / key;
  }

  void put(const std::string& key, const Bytes& body) {
    EXPECT_EQ(store_.put(key, body, {}).result, PutResult::stored);
  }
  Bytes get(const std::string& key, std::size_t size) {
    Bytes body(size);
    EXPECT_TRUE(store_.get(key, body)) << key;
    return body;
  }
  std::vector<std::string> list(const std::string& prefix, const std::string& start_after = "") {
    std::vector<std::string> keys;
    store_.list(prefix, start_after, [&](const ListedObject& object) {
      keys.push_back(object.key);
      return true;
    });
    return keys;
  }
  void change_byte(const std::string& key, std::uint64_t offset) {
    std::fstream file(path_of(key), std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(offset));
    const int old = file.get();
    file.seekp(static_cast<std::streamoff>(offset));
    file.put(static_cast<char>(old ^ 0x10));
    ASSERT_TRUE(file.good());
  }
  void write_file(const fs::path& path, const std::string& content) {
    fs::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << content;
  }
  // The errno of a call that must fail with a message that contains `word`.
  static int code_of(const std::function<void()>& call, const std::string& word) {
    try {
      call();
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos)
          << '"' << word << "\" is not in: " << error.what();
      return error.code();
    }
    ADD_FAILURE() << "no error";
    return 0;
  }
  void expect_damaged(const std::string& key, std::size_t size) {
    Bytes body(size);
    EXPECT_EQ(code_of([&] { store_.get(key, body); }, path_of(key)), EIO);
  }

  const fs::path directory_;
  DirectoryStore store_ = open();
};

}  // namespace nbdstack::testing
