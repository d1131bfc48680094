// Cache directories whose pages are encrypted (cache-encrypt).
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <string>

#include "common/error.hpp"
#include "filters/cache/store/durable/store_directory.hpp"
#include "tests/unit/cache/store/durable/durable_fixture.hpp"
#include "tests/unit/fakes/cheap_scrypt.hpp"
#include "tests/unit/fakes/seeded_cipher.hpp"

namespace nbdstack::testing {
namespace {

using Bytes = std::vector<std::byte>;

// --- The store ---

class EncryptedStoreTest : public DurableStoreTest {
 protected:
  EncryptedStoreTest() { restart(); }

  void restart() {
    store_.reset();
    disk_.set_hook({});
    store_ = std::make_unique<DurableStore>(disk_.directory(), kBlock, kDisk, Damaged::refuse,
                                            fixed_cipher());
    recovered_ = store_->recover();
    taken_.clear();
    for (const RecoveredBlock& block : recovered_.blocks) taken_.insert(block.slot);
  }
  // Text that is in no file by chance.
  static Bytes text() {
    Bytes bytes(kPage);
    constexpr std::string_view kSecret = "the content of a page is nobody's business. ";
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      bytes[i] = static_cast<std::byte>(kSecret[i % kSecret.size()]);
    }
    return bytes;
  }
  void put_text(Slot slot, unsigned page, bool dirty, PageMask stored = 0) {
    take(slot);
    const WriteReceipt pages = store_->write(slot, text(), page * kPage, stored);
    store_->wrote(slot, {slot}, pages, dirty);
  }
  // Whether any part of the text that is as long as a cipher's block lies in any file.
  bool text_is_on_disk() const {
    const Bytes needle_page = text();
    const std::span needle = std::span(needle_page).first(16);
    const auto names = disk_.names();
    return std::any_of(names.begin(), names.end(), [&](const std::string& name) {
      const Bytes content = disk_.content(name);
      return std::search(content.begin(), content.end(), needle.begin(), needle.end()) !=
             content.end();
    });
  }
};

TEST_F(DurableStoreTest, WithoutACipherTheContentLiesInTheClear) {
  put(0, 1, 7, true);
  store_->commit();
  const Bytes data = disk_.content("data");
  EXPECT_EQ(Bytes(data.begin() + kPage, data.begin() + 2 * kPage), bytes(kPage, 7));
}

TEST_F(EncryptedStoreTest, NoFileHoldsTheContent) {
  put_text(0, 0, true);
  put_text(0, 1, false);
  store_->commit();
  put_text(0, 0, true, 1);  // in data2, too
  store_->commit();
  EXPECT_FALSE(disk_.content("data2").empty());
  EXPECT_FALSE(text_is_on_disk());
  store_->close({});
  EXPECT_FALSE(text_is_on_disk());
}

TEST_F(EncryptedStoreTest, TheSameContentLooksDifferentInEachPlace) {
  put(0, 0, 7, true);
  put(0, 1, 7, true);
  put(1, 0, 7, true);
  store_->commit();
  put(0, 0, 7, true, 1);
  const Bytes data = disk_.content("data");
  const Bytes second = disk_.content("data2");
  const std::vector<Bytes> places{
      {data.begin(), data.begin() + kPage},
      {data.begin() + kPage, data.begin() + 2 * kPage},
      {data.begin() + kBlock, data.begin() + kBlock + kPage},
      {second.begin(), second.begin() + kPage},
  };
  for (std::size_t i = 0; i < places.size(); ++i) {
    for (std::size_t j = i + 1; j < places.size(); ++j) EXPECT_NE(places[i], places[j]);
  }
  EXPECT_EQ(get(0, 0), 7);
  EXPECT_EQ(get(0, 1), 7);
}

TEST_F(EncryptedStoreTest, PartsOfPagesAreReadAndWritten) {
  put(0, 0, 7, true);
  store_->wrote(0, {0}, store_->write(0, bytes(100, 9), 50, 1), true);
  // A new page: what is not written of it is zeros.
  store_->wrote(0, {0}, store_->write(0, bytes(10, 5), kPage + 1, 1), true);
  Bytes expected = bytes(kPage, 7);
  std::fill_n(expected.begin() + 50, 100, std::byte{9});
  expected.resize(2 * kPage);
  std::fill_n(expected.begin() + kPage + 1, 10, std::byte{5});
  Bytes found(kPage + 20);
  store_->read(0, found, 30);
  EXPECT_EQ(found, Bytes(expected.begin() + 30, expected.begin() + 30 + kPage + 20));
  store_->commit();
  restart();
  store_->read(0, found, 30);
  EXPECT_EQ(found, Bytes(expected.begin() + 30, expected.begin() + 30 + kPage + 20));
}

TEST_F(EncryptedStoreTest, CommittedContentIsThereAfterACrash) {
  put_text(3, 2, true);
  store_->commit();
  store_.reset();
  disk_.crash(1);
  restart();
  ASSERT_EQ(pages_of(3).dirty, 0b0100U);
  EXPECT_TRUE(store_->verify(3, 0b0100));
  Bytes found(kPage);
  store_->read(3, found, 2 * kPage);
  EXPECT_EQ(found, text());
}

TEST_F(EncryptedStoreTest, AFlippedBitInAPageIsNoticed) {
  put_text(0, 0, true);
  store_->close({});
  for (const std::uint64_t at : {std::uint64_t{0}, std::uint64_t{2000}, std::uint64_t{kPage - 1}}) {
    const auto content = disk_.content("data");
    disk_.overwrite("data", at, content.at(at) ^ std::byte{1});
    restart();
    EXPECT_FALSE(store_->verify(0, 1)) << at;
    disk_.overwrite("data", at, content.at(at));
    restart();
    EXPECT_TRUE(store_->verify(0, 1)) << at;
  }
}

TEST_F(EncryptedStoreTest, PagesThatChangedPlacesAreNoticed) {
  put_text(0, 0, true);
  put_text(1, 0, true);
  store_->close({});
  Bytes data = disk_.content("data");
  std::swap_ranges(data.begin(), data.begin() + kPage, data.begin() + kBlock);
  disk_.replace("data", data);
  restart();
  EXPECT_FALSE(store_->verify(0, 1));
  EXPECT_FALSE(store_->verify(1, 1));
}

// --- The directory's key ---

class EncryptedDirectoryTest : public ::testing::Test {
 protected:
  static constexpr std::uint32_t kBlock = 16384;
  const CacheIdentity identity_{
      .export_name = "", .disk_size_bytes = 16 * kBlock, .block_size_bytes = kBlock};
  using Passphrase = std::optional<std::string>;

  // Opens the directory as a server does; a page of it if there is one.
  std::shared_ptr<CacheDirectory> opened(const Passphrase& passphrase) {
    auto directory = std::make_shared<CacheDirectory>(disk_.directory());
    cipher_ = directory->unlock(passphrase, kCheapScrypt);
    return directory;
  }
  std::unique_ptr<DurableStore> store_in(std::shared_ptr<CacheDirectory> directory) const {
    return std::make_unique<DurableStore>(std::make_unique<StoreDirectory>(std::move(directory)),
                                          kBlock, identity_.disk_size_bytes, Damaged::refuse,
                                          cipher_);
  }
  void leave_a_page(const Passphrase& passphrase) {
    const auto directory = opened(passphrase);
    directory->record_with_content(identity_);
    const auto store = store_in(directory);
    store->recover();
    store->taken(0);
    store->wrote(0, {0}, store->write(0, Bytes(4096, std::byte{7}), 0, 0), true);
    store->commit();
  }
  std::string refusal(const Passphrase& passphrase, int code) {
    const SimulatedDisk before = disk_.copy();
    std::string message = "not refused";
    try {
      opened(passphrase);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code);
      message = error.what();
    }
    EXPECT_EQ(disk_.names(), before.names());
    for (const std::string& name : before.names()) {
      EXPECT_EQ(disk_.content(name), before.content(name)) << name;
    }
    return message;
  }
  std::string text_of_identity() const {
    const Bytes content = disk_.content("identity");
    return {reinterpret_cast<const char*>(content.data()), content.size()};
  }

  SimulatedDisk disk_;
  std::shared_ptr<const UnitCipher> cipher_;
};

TEST_F(EncryptedDirectoryTest, ThePassphraseOpensWhatItMade) {
  leave_a_page("secret");
  const auto directory = opened("secret");
  const auto store = store_in(directory);
  const Recovered recovered = store->recover();
  ASSERT_EQ(recovered.blocks.size(), 1U);
  EXPECT_TRUE(store->verify(0, 1));
  Bytes found(4096);
  store->read(0, found, 0);
  EXPECT_EQ(found, Bytes(4096, std::byte{7}));
}

TEST_F(EncryptedDirectoryTest, NothingElseOpensItAndNothingIsChanged) {
  leave_a_page("secret");
  const std::string wrong = refusal("Secret", EACCES);
  for (const char* part : {"cache-encrypt", "not the passphrase", "nbdstack-cache discard"}) {
    EXPECT_NE(wrong.find(part), std::string::npos) << wrong;
  }
  EXPECT_EQ(wrong.find("Secret"), std::string::npos);
  const std::string none = refusal(std::nullopt, EACCES);
  for (const char* part : {"cache-encrypt", "is encrypted"}) {
    EXPECT_NE(none.find(part), std::string::npos) << none;
  }
}

TEST_F(EncryptedDirectoryTest, ADirectoryInTheClearIsNotUsedEncrypted) {
  leave_a_page(std::nullopt);
  const std::string said = refusal("secret", EINVAL);
  for (const char* part : {"cache-encrypt", "not encrypted", "nbdstack-cache discard"}) {
    EXPECT_NE(said.find(part), std::string::npos) << said;
  }
  EXPECT_EQ(opened(std::nullopt)->identity()->encryption, std::nullopt);
}

// What an unencrypted directory says of itself has not changed, and older programs read it.
TEST_F(EncryptedDirectoryTest, OnlyEncryptedDirectoriesHaveTheNewFormat) {
  leave_a_page(std::nullopt);
  EXPECT_EQ(text_of_identity().rfind("format=2\n", 0), 0U);
  EXPECT_EQ(text_of_identity().find("cipher"), std::string::npos);
  disk_ = SimulatedDisk();
  leave_a_page("secret");
  EXPECT_EQ(text_of_identity().rfind("format=3\n", 0), 0U);
  EXPECT_EQ(text_of_identity().find("secret"), std::string::npos);
}

TEST_F(EncryptedDirectoryTest, AnUnusedDirectoryTakesAnyPassphrase) {
  opened("one");
  leave_a_page("two");
  EXPECT_NE(refusal("one", EACCES).find("passphrase"), std::string::npos);
}

TEST_F(EncryptedDirectoryTest, TheKeyStaysWhenTheRestOfTheIdentityChanges) {
  leave_a_page("secret");
  const std::string before = text_of_identity();
  {
    const auto directory = opened("secret");
    CacheIdentity newer = identity_;
    newer.term = 7;
    directory->record(newer);
    directory->record(newer);
    EXPECT_EQ(directory->identity()->term, 7U);
  }
  EXPECT_NE(text_of_identity(), before);
  const auto store = store_in(opened("secret"));
  store->recover();
  EXPECT_TRUE(store->verify(0, 1));

  // Also by somebody who does not know it.
  CacheDirectory blind(disk_.directory());
  blind.record(identity_);
  store_in(opened("secret"))->recover();
}

TEST_F(EncryptedDirectoryTest, ADiscardedDirectoryIsAnUnusedOne) {
  leave_a_page("secret");
  CacheDirectory(disk_.directory()).remove_all();
  leave_a_page(std::nullopt);
  CacheDirectory(disk_.directory()).remove_all();
  leave_a_page("another");
}

TEST_F(EncryptedDirectoryTest, ADamagedKeyIsRefused) {
  leave_a_page("secret");
  const std::string text = text_of_identity();
  for (const char* what : {"cipher=", "scrypt_n=", "salt=", "wrapped_key="}) {
    const std::size_t at = text.find(what) + std::string_view(what).size();
    disk_.overwrite("identity", at, std::byte{'-'});
    EXPECT_THROW(CacheDirectory(disk_.directory()), Error) << what;
    disk_.overwrite("identity", at, static_cast<std::byte>(text[at]));
  }
  // One that is whole and not the right one.
  const std::size_t at = text.find("salt=") + 5;
  disk_.overwrite("identity", at, static_cast<std::byte>(text[at] == 'A' ? 'B' : 'A'));
  EXPECT_NE(refusal("secret", EACCES).find("passphrase"), std::string::npos);
}

}  // namespace
}  // namespace nbdstack::testing
