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
  list.overlay({{{0, 10}, kData}, {{40, 10}, kData}, {{90, 70}, kData}, {{195, 100}, kData}});
  EXPECT_EQ(list.all(), (std::vector<Extent>{{{0, 10}, kData},
                                             {{10, 30}, kHole},
                                             {{40, 10}, kData},
                                             {{50, 40}, kHole},
                                             {{90, 70}, kData},
                                             {{160, 35}, kHole},
                                             {{195, 5}, kData}}));
}

TEST(ExtentList, OverlaysHolesOnDataAndMergesThemWithTheirNeighbours) {
  ExtentList list;
  list.append({0, 100}, kData);
  list.append({100, 50}, kHole);
  list.overlay({{{20, 10}, {.hole = false, .zero = true}}, {{90, 10}, kHole}});
  EXPECT_EQ(list.all(), (std::vector<Extent>{{{0, 20}, kData},
                                             {{20, 10}, {.hole = false, .zero = true}},
                                             {{30, 60}, kData},
                                             {{90, 60}, kHole}}));
}

TEST(ExtentList, IsUnchangedByAnEmptyOverlay) {
  ExtentList list;
  list.append({5, 10}, kHole);
  list.overlay({});
  EXPECT_EQ(list.all(), (std::vector<Extent>{{{5, 10}, kHole}}));
}

}  // namespace
}  // namespace nbdstack
