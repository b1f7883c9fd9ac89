#include "scute/base/shard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "scute/base/error.h"

namespace scute::shard_test {
namespace {

TEST(Shard, EverySampleIsInOneShare) {
  for (const int64_t of : {1, 2, 3, 7, 20}) {
    for (const int64_t all : {0, 1, 6, 7, 8, 100}) {
      std::vector<int> taken(static_cast<size_t>(all));
      for (int64_t index = 0; index < of; ++index) {
        const Shard shard{index, of};
        for (int64_t i = 0; i < shard.count(all); ++i) {
          ++taken[static_cast<size_t>(shard.nth(i))];
        }
      }
      EXPECT_THAT(taken, testing::Each(1)) << all << " in " << of;
    }
  }
}

TEST(Shard, IsReadFromText) {
  EXPECT_EQ(Shard::parse("0/1", "--shard"), (Shard{0, 1}));
  EXPECT_EQ(Shard::parse("7/8", "--shard"), (Shard{7, 8}));
  EXPECT_EQ((Shard{7, 8}.text()), "7/8");
  for (const char* wrong : {"", "8/8", "1", "1/", "/2", "-1/2", "1/2/3", "a/b", "0/0", " 0/2",
                            "99999999999999999999/99999999999999999999999"}) {
    EXPECT_THROW(Shard::parse(wrong, "--shard"), Error) << wrong;
  }
}

}  // namespace
}  // namespace scute::shard_test
