#include "scute/io/sealed_tensors.h"

#include <gmock/gmock.h>

#include "scute/io/testing.h"

namespace scute::sealed_tensors_test {
namespace {

using fixtures::error_of;
using ::testing::HasSubstr;

struct SealedTensors : ::testing::Test {
  void write() const {
    write_sealed_tensors(file,
                         {{"b", fixtures::floats({2}, {1, 2})}, {"a", fixtures::floats({1}, {3})}},
                         {{"meta", "{}"}});
  }
  std::string refusal() const {
    return error_of([&] { check_sealed_tensors(read_safetensors(file), file); });
  }
  const fixtures::Folder folder;
  const std::string file = folder / "t.safetensors";
};

TEST_F(SealedTensors, AreKnownAlsoAsACopy) {
  write();
  EXPECT_EQ(refusal(), "");
  const std::string bytes = fixtures::get(file);
  std::filesystem::remove(file);
  fixtures::put(file, bytes);  // without attributes
  EXPECT_EQ(refusal(), "");
}

TEST_F(SealedTensors, AnyBitThatCountsIsMissed) {
  write();
  const std::string good = fixtures::get(file);
  for (const size_t at :
       {good.size() - 1, good.size() - 12, good.find("{}") + 1, good.find("\"a\"") + 1}) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 4);
    fixtures::put(file, bad);
    EXPECT_THAT(refusal(), HasSubstr("t.safetensors")) << at;
  }
  write_safetensors(file, {}, {});
  EXPECT_THAT(refusal(), HasSubstr("with the hash of its content"));
}

}  // namespace
}  // namespace scute::sealed_tensors_test
