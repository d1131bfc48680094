#include "common/block/extents.hpp"

#include <gtest/gtest.h>

namespace nbdstack {
namespace {

TEST(ExtentList, MergesNeighboursOfOneType) {
  ExtentList list;
  list.append({0, 10}, kHole);
  list.append({10, 10}, kHole);
  list.append({20, 5}, kData);
  list.append({25, 0}, kHole);
  EXPECT_EQ(list.all(), (std::vector<Extent>{{{0, 20}, kHole}, {{20, 5}, kData}}));
}

TEST(ExtentList, OverlaysDataOnHolesWhereverItLies) {
  ExtentList list;
  list.append({0, 100}, kHole);
  list.append({100, 50}, kData);
  list.append({150, 50}, kHole);
  list.overlay_data({{0, 10}, {40, 10}, {90, 70}, {195, 100}});
  EXPECT_EQ(list.all(), (std::vector<Extent>{{{0, 10}, kData},
                                             {{10, 30}, kHole},
                                             {{40, 10}, kData},
                                             {{50, 40}, kHole},
                                             {{90, 70}, kData},
                                             {{160, 35}, kHole},
                                             {{195, 5}, kData}}));
}

TEST(ExtentList, IsUnchangedByAnEmptyOverlay) {
  ExtentList list;
  list.append({5, 10}, kHole);
  list.overlay_data({});
  EXPECT_EQ(list.all(), (std::vector<Extent>{{{5, 10}, kHole}}));
}

}  // namespace
}  // namespace nbdstack
