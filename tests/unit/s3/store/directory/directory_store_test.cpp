// Objects as files: what is stored, what is refused, what a crash and a bad disk leave behind.
#include "plugins/s3/store/directory/directory_store.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <thread>

#include "common/error.hpp"
#include "common/hash/digest.hpp"
#include "common/hash/xxh3.hpp"
#include "common/io/file.hpp"
#include "tests/unit/s3/store/directory/directory_store_fixture.hpp"

namespace nbdstack {
namespace {

namespace fs = std::filesystem;
using Bytes = std::vector<std::byte>;
using testing::kTrailer_bytes;
using testing::pattern;
using DirectoryStoreTest = testing::DirectoryStoreFixture;

TEST_F(DirectoryStoreTest, WhatIsPutIsReadBackWholeAndInParts) {
  const Bytes body = pattern(10'000, 1);
  put("disk/0", body);
  EXPECT_EQ(get("disk/0", 10'000), body);
  Bytes part(100);
  EXPECT_TRUE(store_.get_range("disk/0", part, {.offset = 9900, .object_bytes = 10'000}));
  EXPECT_EQ(part, Bytes(body.end() - 100, body.end()));
  EXPECT_EQ(store_.size_of("disk/0"), 10'000U);
}

// What an unanswered put has made of an object is recognised by it.
TEST_F(DirectoryStoreTest, AnObjectIsToldWithTheChecksumOfItsBody) {
  const Bytes body = pattern(10'000, 1);
  put("disk/0", body);
  const std::string expected = to_hex(xxh3_128(body));
  EXPECT_EQ(store_.look_up("disk/0").value().whole_checksum, expected);
  Bytes buffer(10'000);
  EXPECT_EQ(store_.fetch("disk/0", buffer).value().whole_checksum, expected);
}

TEST_F(DirectoryStoreTest, APartOfAnObjectOfAnotherLengthIsAPartOfSomethingElse) {
  put("disk/0", pattern(100, 1));
  Bytes part(10);
  EXPECT_EQ(
      code_of([&] { store_.get_range("disk/0", part, {.object_bytes = 4096}); }, path_of("disk/0")),
      EIO);
}

TEST_F(DirectoryStoreTest, AnotherStoreOfTheSameDirectoryReadsIt) {
  put("disk/0", pattern(100, 1));
  DirectoryStore other(directory_, "bucket", DirectoryStore::MissingBucket::fail);
  Bytes body(100);
  EXPECT_TRUE(other.get("disk/0", body));
  EXPECT_EQ(body, pattern(100, 1));
}

TEST_F(DirectoryStoreTest, AnEmptyObjectIsAnObject) {
  put("empty", {});
  EXPECT_EQ(store_.size_of("empty"), 0U);
  EXPECT_EQ(store_.get_text("empty", 10), "");
}

TEST_F(DirectoryStoreTest, WhatIsNotThereIsNotThere) {
  put("disk/0", pattern(10, 1));
  Bytes body(10);
  for (const char* key : {"nothing", "no/thing", "disk", "disk/0/x"}) {
    EXPECT_FALSE(store_.get(key, body)) << key;
    EXPECT_FALSE(store_.get_range(key, body, {.object_bytes = 10})) << key;
    EXPECT_EQ(store_.size_of(key), std::nullopt) << key;
    EXPECT_EQ(store_.get_text(key, 10), std::nullopt) << key;
    store_.remove(std::vector<std::string>{key});
  }
  EXPECT_EQ(get("disk/0", 10), pattern(10, 1));
}

TEST_F(DirectoryStoreTest, AVanishedBucketIsAnErrorAndNotABucketWithoutObjects) {
  put("disk/0", pattern(10, 1));
  fs::remove_all(directory_ / "bucket");
  Bytes body(10);
  const std::string place = directory_ / "bucket";
  EXPECT_EQ(code_of([&] { store_.get("disk/0", body); }, place), ENOENT);
  EXPECT_EQ(code_of([&] { store_.get_range("disk/0", body, {.object_bytes = 10}); }, place),
            ENOENT);
  EXPECT_EQ(code_of([&] { put("disk/0", body); }, place), ENOENT);
  EXPECT_EQ(code_of([&] { list(""); }, place), ENOENT);
  EXPECT_EQ(code_of([&] { store_.remove(std::vector<std::string>{"disk/0"}); }, place), ENOENT);
}

TEST_F(DirectoryStoreTest, CreateOnlyNeverReplaces) {
  EXPECT_EQ(store_.put("a", pattern(10, 1), {.mode = PutMode::create_only}).result,
            PutResult::stored);
  EXPECT_EQ(store_.put("a", pattern(10, 2), {.mode = PutMode::create_only}).result,
            PutResult::exists);
  EXPECT_EQ(get("a", 10), pattern(10, 1));
  EXPECT_EQ(std::distance(fs::directory_iterator(directory_ / "bucket"), {}), 1)
      << "a temporary file was left behind";
}

TEST_F(DirectoryStoreTest, OnlyOneOfManyReplacesTheSameVersion) {
  const std::string first = store_.put("a", pattern(100, 0), {}).etag;
  ASSERT_FALSE(first.empty());
  EXPECT_EQ(store_.look_up("a")->etag, first);
  std::atomic<int> winners{0};
  std::vector<std::thread> threads;
  for (unsigned i = 1; i <= 8; ++i) {
    threads.emplace_back([&, i] {
      const PutOptions over_first{.mode = PutMode::if_match, .etag = first};
      if (store_.put("a", pattern(100, i), over_first).result == PutResult::stored) ++winners;
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(winners, 1);
  EXPECT_EQ(store_.put("none", {}, {.mode = PutMode::if_match, .etag = first}).result,
            PutResult::changed);
}

TEST_F(DirectoryStoreTest, NothingIsChangedWithoutTheRightToWrite) {
  const Bytes before = pattern(100, 1);
  put("a", before);
  bool may_write = false;
  DirectoryStore fenced(directory_, "bucket", DirectoryStore::MissingBucket::fail,
                        DirectoryStore::WriteRight{[&] { return may_write; }, "disk"});
  EXPECT_EQ(code_of([&] { fenced.put("a", pattern(100, 2), {}); }, "right to write"), ESHUTDOWN);
  EXPECT_EQ(code_of([&] { fenced.remove(std::vector<std::string>{"a"}); }, "right to write"),
            ESHUTDOWN);
  Bytes body(100);
  ASSERT_TRUE(fenced.get("a", body));
  EXPECT_EQ(body, before);
  may_write = true;
  EXPECT_EQ(fenced.put("a", pattern(100, 2), {}).result, PutResult::stored);
  fenced.remove(std::vector<std::string>{"a", "never there"});
  EXPECT_FALSE(fenced.get("a", body));
}

// One that was stopped after its last look at the time: the rename itself has to fail.
TEST_F(DirectoryStoreTest, AFormerOwnerChangesNothingWhenItGoesOn) {
  put("disk/0", pattern(100, 1));
  put("disk/1", pattern(100, 1));
  std::optional<DirectoryStore> successor;
  int looks = 0;
  const auto right_of = [](std::function<bool()> may_write) {
    return DirectoryStore::WriteRight{std::move(may_write), "disk"};
  };
  DirectoryStore former(directory_, "bucket", DirectoryStore::MissingBucket::fail, right_of([&] {
                          if (++looks == 2) {
                            successor.emplace(directory_, "bucket",
                                              DirectoryStore::MissingBucket::fail,
                                              right_of([] { return true; }));
                            successor->put("disk/0", pattern(100, 3), {});
                          }
                          return true;
                        }));
  EXPECT_ANY_THROW(former.put("disk/0", pattern(100, 2), {}));
  EXPECT_EQ(code_of([&] { former.put("disk/0", pattern(100, 2), {}); }, "right to write"),
            ESHUTDOWN);
  EXPECT_EQ(code_of([&] { former.remove(std::vector<std::string>{"disk/1"}); }, "right to write"),
            ESHUTDOWN);
  EXPECT_EQ(get("disk/0", 100), pattern(100, 3));
  EXPECT_EQ(get("disk/1", 100), pattern(100, 1));
  EXPECT_EQ(list("").size(), 2U) << "staging directories are no objects";
}

TEST_F(DirectoryStoreTest, WhatCannotBeKeptIsRefused) {
  const PutOptions encoded{.attributes = {.content_encoding = "deflate"}};
  EXPECT_EQ(code_of([&] { store_.put("a", pattern(10, 1), encoded); }, "content encoding"),
            ENOTSUP);
  EXPECT_FALSE(store_.look_up("a").has_value());
}

TEST_F(DirectoryStoreTest, OfManyThatCreateAtOnceOneWins) {
  std::atomic<int> winners = 0;
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < 8; ++i) {
    threads.emplace_back([&, i] {
      if (store_.put("a", pattern(100, i), {.mode = PutMode::create_only}).result ==
          PutResult::stored)
        ++winners;
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(winners, 1);
}

TEST_F(DirectoryStoreTest, RemovalOfACertainVersionLeavesOthers) {
  const std::string old = store_.put("a", pattern(10, 1), {}).etag;
  const std::string now = store_.put("a", pattern(10, 2), {}).etag;
  Doubt doubt;
  const std::vector<Removal> late{{"a", old}, {"missing", old}};
  EXPECT_EQ(store_.remove_matching(late, doubt), std::vector<std::string>{"a"});
  EXPECT_EQ(get("a", 10), pattern(10, 2));
  const std::vector<Removal> right{{"a", now}};
  EXPECT_TRUE(store_.remove_matching(right, doubt).empty());
  EXPECT_FALSE(store_.look_up("a").has_value());
  EXPECT_FALSE(doubt.is_open);
}

TEST_F(DirectoryStoreTest, RemoveTakesManyAndForgivesWhatIsMissing) {
  for (const char* key : {"a", "b", "sub/c", "d"}) put(key, pattern(10, 1));
  store_.remove(std::vector<std::string>{"a", "missing", "sub/c", "no/such/directory"});
  EXPECT_EQ(list(""), (std::vector<std::string>{"b", "d"}));
}

// --- Keys ---

TEST_F(DirectoryStoreTest, KeysThatWouldLeaveTheBucketAreRefused) {
  const Bytes body = pattern(10, 1);
  for (const char* key : {"../a", "a/../b", "/a", "a//b", "a/", "", ".", "a/./b", "..",
                          ".nbdstack-tmp-x", "a/.nbdstack-tmp-x/b"}) {
    EXPECT_EQ(code_of([&] { put(key, body); }, "'" + std::string(key) + "'"), EINVAL) << key;
    Bytes read(10);
    EXPECT_EQ(code_of([&] { store_.get(key, read); }, "'"), EINVAL) << key;
  }
  EXPECT_EQ(code_of([&] { put(std::string("a\0b", 3), body); }, "'"), EINVAL);
  put("..a/...", body);
  EXPECT_EQ(list(""), std::vector<std::string>{"..a/..."});
}

TEST_F(DirectoryStoreTest, BucketsThatWouldLeaveTheDirectoryAreRefused) {
  for (const char* bucket : {"..", ".", "a/b", ""}) {
    EXPECT_EQ(code_of([&] { open(bucket); }, "bucket"), EINVAL) << bucket;
  }
}

TEST_F(DirectoryStoreTest, AMissingBucketIsMadeOnlyOnDemandAndItsDirectoryNever) {
  using Missing = DirectoryStore::MissingBucket;
  EXPECT_EQ(code_of([&] { DirectoryStore(directory_, "new", Missing::fail); }, "new"), ENOENT);
  EXPECT_FALSE(fs::exists(directory_ / "new"));
  DirectoryStore(directory_, "new", Missing::create);
  EXPECT_TRUE(fs::is_directory(directory_ / "new"));
  EXPECT_EQ(code_of([&] { DirectoryStore(directory_ / "typo", "b", Missing::create); }, "typo"),
            ENOENT);
  EXPECT_FALSE(fs::exists(directory_ / "typo"));
}

// --- Listings ---

TEST_F(DirectoryStoreTest, ListingsAreInTheOrderOfBytesOverTheWholeKey) {
  const std::vector<std::string> keys{"A",     "a",  "a-b",   "a.b/x",   "a/b",
                                      "a/b-c", "a0", "b/c/d", "\xc3\xa4"};
  for (auto key = keys.rbegin(); key != keys.rend(); ++key) {
    if (*key != "a") put(*key, pattern(10, 1));  // on disk "a" is a directory
  }
  std::vector<std::string> expected = keys;
  std::erase(expected, "a");
  EXPECT_EQ(list(""), expected);
}

TEST_F(DirectoryStoreTest, ListingsBeginAfterAndKeepToTheirPrefix) {
  for (const char* key : {"a/1", "a/2", "a/3/x", "ab", "b"}) put(key, pattern(10, 1));
  EXPECT_EQ(list("a/"), (std::vector<std::string>{"a/1", "a/2", "a/3/x"}));
  EXPECT_EQ(list("a"), (std::vector<std::string>{"a/1", "a/2", "a/3/x", "ab"}));
  EXPECT_EQ(list("a/", "a/1"), (std::vector<std::string>{"a/2", "a/3/x"}));
  EXPECT_EQ(list("", "a/3"), (std::vector<std::string>{"a/3/x", "ab", "b"}));
  EXPECT_EQ(list("", "a/3/x"), (std::vector<std::string>{"ab", "b"}));
  EXPECT_EQ(list("c"), std::vector<std::string>{});
}

TEST_F(DirectoryStoreTest, DirectoriesComeInTheOrderOfTheirKeys) {
  for (const char* key : {"v/a/1", "v/a-b/1", "v/a0/x/y", "v/file", "w/1"}) put(key, pattern(1, 1));
  fs::create_directories(path_of("v/.nbdstack-tmp-1"));
  EXPECT_EQ(store_.directories_below("v/"), (std::vector<std::string>{"a-b", "a", "a0"}));
  EXPECT_EQ(store_.directories_below(""), (std::vector<std::string>{"v", "w"}));
  EXPECT_EQ(store_.directories_below("x/"), std::vector<std::string>());
}

TEST_F(DirectoryStoreTest, AListingStopsWhenItIsToldTo) {
  for (const char* key : {"a/1", "a/2", "b"}) put(key, pattern(10, 1));
  int visited = 0;
  store_.list("", "", [&](const ListedObject& /*object*/) { return ++visited < 2; });
  EXPECT_EQ(visited, 2);
}

TEST_F(DirectoryStoreTest, AListingShowsTheSizeOfTheBody) {
  put("ours", pattern(1000, 1));
  write_file(path_of("theirs"), "12345");
  std::vector<std::uint64_t> sizes;
  store_.list("", "", [&](const ListedObject& object) {
    sizes.push_back(object.size_bytes);
    return true;
  });
  EXPECT_EQ(sizes, (std::vector<std::uint64_t>{1000, 5}));
}

// --- What a crash and a bad disk leave behind ---

TEST_F(DirectoryStoreTest, TheTemporaryFileOfACrashIsNoObject) {
  put("disk/0", pattern(10, 1));
  write_file(path_of("disk/.nbdstack-tmp-abcdef"), "half");
  EXPECT_EQ(list(""), std::vector<std::string>{"disk/0"});
}

TEST_F(DirectoryStoreTest, OnlyOldTemporaryFilesAreRemoved) {
  put("disk/0", pattern(10, 1));
  const fs::path old = path_of("disk/.nbdstack-tmp-old");
  const fs::path young = path_of("disk/.nbdstack-tmp-young");
  write_file(old, "half");
  write_file(young, "somebody writes this now");
  fs::last_write_time(old, fs::file_time_type::clock::now() - std::chrono::hours(2));
  store_.remove_leftovers(std::chrono::hours(1));
  EXPECT_FALSE(fs::exists(old));
  EXPECT_TRUE(fs::exists(young));
  EXPECT_EQ(get("disk/0", 10), pattern(10, 1));
}

// To see how late it is by the file system's clock, a file is made: not where nothing is to be
// compared with it.
TEST_F(DirectoryStoreTest, WhereThereAreNoTemporaryFilesTheDirectoryStaysAsItIs) {
  put("0", pattern(10, 1));
  const fs::path bucket = fs::path(path_of("0")).parent_path();
  const auto before = fs::last_write_time(bucket);
  store_.remove_leftovers(std::chrono::hours(1));
  EXPECT_EQ(fs::last_write_time(bucket), before);
}

TEST_F(DirectoryStoreTest, AFlippedBitAnywhereIsFoundByAWholeRead) {
  constexpr std::size_t kBody = 300;
  for (std::size_t offset = 0; offset < kBody + kTrailer_bytes; ++offset) {
    put("a", pattern(kBody, 1));
    change_byte("a", offset);
    expect_damaged("a", kBody);
  }
}

TEST_F(DirectoryStoreTest, ADamagedTrailerIsFoundByAPartialReadToo) {
  put("a", pattern(300, 1));
  change_byte("a", 300 + 20);
  Bytes part(10);
  EXPECT_EQ(code_of([&] { store_.get_range("a", part, {.object_bytes = 300}); }, path_of("a")),
            EIO);
}

TEST_F(DirectoryStoreTest, AFileCutShortIsNeverData) {
  const Bytes whole = pattern(300, 1);
  for (const std::size_t length : {0U, 1U, 47U, 48U, 299U, 301U, 347U}) {
    put("a", whole);
    fs::resize_file(path_of("a"), length);
    expect_damaged("a", 300);
  }
  fs::resize_file(path_of("a"), 50);
  Bytes part(10);
  EXPECT_EQ(code_of([&] { store_.get_range("a", part, {.offset = 100, .object_bytes = 300}); },
                    path_of("a")),
            EIO);
}

TEST_F(DirectoryStoreTest, AFileThatNeverReachedTheDiskWholeIsNeverData) {
  put("a", pattern(8192, 1));
  const File file = File::open(path_of("a"), O_RDWR);
  file.punch_hole(4096, 4096);  // the size is there, the data is not
  expect_damaged("a", 8192);
}

TEST_F(DirectoryStoreTest, AFileWithoutATrailerIsAnObjectOfSomebodyElse) {
  write_file(path_of("raw/image"), std::string(1000, 'x'));
  EXPECT_EQ(store_.size_of("raw/image"), 1000U);
  EXPECT_EQ(get("raw/image", 1000), Bytes(1000, std::byte{'x'}));
  EXPECT_EQ(list("raw/"), std::vector<std::string>{"raw/image"});
}

TEST_F(DirectoryStoreTest, ATextLongerThanItsLimitIsRefused) {
  put("a", pattern(100, 1));
  EXPECT_EQ(code_of([&] { (void)store_.get_text("a", 99); }, path_of("a")), EIO);
  EXPECT_EQ(store_.get_text("a", 100)->size(), 100U);
}

TEST_F(DirectoryStoreTest, AFifoInTheDirectoryIsNoObjectAndStopsNobody) {
  ASSERT_EQ(::mkfifo(path_of("fifo").c_str(), 0600), 0);
  Bytes body(10);
  EXPECT_FALSE(store_.get("fifo", body));
  EXPECT_TRUE(list("").empty());
}

TEST_F(DirectoryStoreTest, AFullDiskFailsThePutAndKeepsTheOldObject) {
  put("a", pattern(1000, 1));
  // A limit on file sizes stands in for a full disk: write(2) fails half way through.
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit old{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old), 0);
  const rlimit small{.rlim_cur = 4096, .rlim_max = old.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  EXPECT_EQ(code_of([&] { put("a", pattern(100'000, 2)); }, path_of(".nbdstack-tmp-")), EFBIG);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &old), 0);
  EXPECT_EQ(get("a", 1000), pattern(1000, 1));
  EXPECT_EQ(std::distance(fs::directory_iterator(directory_ / "bucket"), {}), 1)
      << "a temporary file was left behind";
}

}  // namespace
}  // namespace nbdstack
