// Which volumes a bucket holds.
#include "plugins/s3/serving/volume_set.hpp"

#include <gtest/gtest.h>

#include "plugins/s3/layout/volume_descriptor.hpp"
#include "tests/unit/fakes/fake_layer.hpp"
#include "tests/unit/s3/memory_store.hpp"

namespace nbdstack {
namespace {

using Names = std::vector<std::string>;

class ListVolumes : public ::testing::Test {
 protected:
  void place_volume(const std::string& key) {
    store_.place_text(key + "/nbdstack-volume.json", VolumeDescriptor::make(4096, 4096).to_json());
    for (int block = 0; block < 20; ++block) {
      store_.place(ObjectNames(key).block({static_cast<std::uint64_t>(block)}),
                   testing::pattern(1, 1));
    }
  }
  testing::MemoryStore store_;
};

TEST_F(ListVolumes, AnEmptyBucketHasNone) {
  EXPECT_EQ(list_volumes(store_, "", 4), Names());
}

TEST_F(ListVolumes, FindsThoseDirectlyBelowTheKeyAndStepsOverTheirBlocks) {
  for (const char* key : {"a", "a-b", "a0", "vm/1", "vm/2", "vm/2/snapshot"}) place_volume(key);
  store_.place_text("a.txt", "an object beside them");
  store_.place_text("data/readme", "a directory that is no volume");
  EXPECT_EQ(list_volumes(store_, "", 4), (Names{"a-b", "a", "a0"}));
  EXPECT_EQ(list_volumes(store_, "vm", 4), (Names{"1", "2"}));
  store_.forget_calls();
  list_volumes(store_, "vm", 4);
  EXPECT_LE(store_.calls().size(), 5U) << "one listing a volume, and a look at its descriptor";
}

// A character beyond ASCII right behind a slash sorts behind every byte that could stand for "all".
TEST_F(ListVolumes, EndsWhateverTheObjectsAreCalled) {
  store_.place_text("holiday/\xc3\x84rger.jpg", "x");
  store_.place_text("holiday/\xff", "x");
  place_volume("holidays");
  EXPECT_EQ(list_volumes(store_, "", 4), Names{"holidays"});
  EXPECT_LE(store_.list_requests(), 3U);
}

TEST_F(ListVolumes, NamesThatNobodyCanAskForAreNotShown) {
  for (const char* key : {"a\nb", "..", "ok"}) place_volume(key);
  EXPECT_EQ(list_volumes(store_, "", 4), Names{"ok"});
}

TEST(VolumeNames, AreOnePartOfAKeyThatLeadsNowhereElse) {
  for (const char* name : {"vm1", "a b", "..a", "...", "a%2fb", "gr\xc3\xbc\xc3\x9f"}) {
    EXPECT_TRUE(can_be_volume_name(name)) << name;
  }
  for (const char* name :
       {"", ".", "..", "a/b", "/", "a/", "../a", "a\nb", "\x1b[0m", "\x7f", ".nbdstack-tmp-1"}) {
    EXPECT_FALSE(can_be_volume_name(name)) << name;
  }
  EXPECT_FALSE(can_be_volume_name(std::string("a\0b", 3)));
  EXPECT_TRUE(can_be_volume_name(std::string(255, 'a')));
  EXPECT_FALSE(can_be_volume_name(std::string(256, 'a')));
}

}  // namespace
}  // namespace nbdstack
