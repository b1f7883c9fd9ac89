#include "scute/io/gguf_writer.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "scute/io/file.h"
#include "scute/io/testing.h"

namespace scute::gguf_writer_test {
namespace {

using ::testing::HasSubstr;

/// What the gguf package 0.19.0 of PyPI writes for the same keys and tensors.
constexpr const char* kOfThePackage =
    "474755460300000003000000000000000900000000000000140000000000000067656e6572616c2e61726368"
    "697465637475726508000000040000000000000074696e79100000000000000074696e792e626c6f636b5f63"
    "6f756e7404000000020000000700000000000000612e696e74333205000000fdffffff090000000000000061"
    "2e666c6f61743332060000000000003f0600000000000000612e626f6f6c0700000001080000000000000061"
    "2e737472696e670800000007000000000000004772c3bcc39f650800000000000000612e696e743332730900"
    "000005000000020000000000000007000000ffffffff0a00000000000000612e666c6f617433327309000000"
    "0600000002000000000000000000c03f000080be0900000000000000612e737472696e677309000000080000"
    "00020000000000000001000000000000007800000000000000000c0000000000000066697273742e77656967"
    "687402000000030000000000000002000000000000000000000000000000000000000d000000000000007365"
    "636f6e642e776569676874020000002000000000000000020000000000000008000000200000000000000005"
    "0000000000000074686972640100000003000000000000001e000000800000000000000000000000000020c0"
    "0000c0bf000000bf0000003f0000c03f0000204000000000000000000a2581878e949aa1a7adb4bac0c7cdd4"
    "dae0e7edf3fa00060d131920262c333940466b292326292c2f3235383b3e4144474a4d505356595c5f616467"
    "6a6d707376797c7f00000000000000000000000000000000000000000000000000000000803f00c049400000"
    "000000000000000000000000000000000000000000000000";

GgufKeys some_keys() {
  return {{"general.architecture", std::string("tiny")},
          {"tiny.block_count", uint32_t{2}},
          {"a.int32", int32_t{-3}},
          {"a.float32", 0.5F},
          {"a.bool", true},
          {"a.string", std::string("Gr\u00fc\u00dfe")},
          {"a.int32s", std::vector<int32_t>{7, -1}},
          {"a.float32s", std::vector<float>{1.5F, -0.25F}},
          {"a.strings", std::vector<std::string>{"x", ""}}};
}
std::vector<GgufTensor> some_tensors() {
  return {{"first.weight", {2, 3}, GgufType::f32},
          {"second.weight", {2, 32}, GgufType::q8_0},
          {"third", {3}, GgufType::bf16}};
}

std::string hex_of(const std::string& bytes) {
  std::string out;
  for (const char c : bytes) out += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return out;
}
std::string bytes_of_hex(std::string_view hex) {
  std::string out;
  for (size_t i = 0; i < hex.size(); i += 2) {
    out += static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16));
  }
  return out;
}
std::span<const std::byte> part(const std::string& bytes, size_t first, size_t count) {
  return std::as_bytes(std::span(bytes)).subspan(first, count);
}

TEST(GgufWriter, WritesThePackagesBytes) {
  const fixtures::Folder folder;
  const std::string wanted = bytes_of_hex(kOfThePackage);
  // The tensors' bytes as they are there: 24 and 8 of padding, 68 and 28, 6 and 26.
  const size_t data = wanted.size() - 32 - 96 - 32;
  GgufWriter writer(folder / "a.gguf", some_keys(), some_tensors());
  writer.write(part(wanted, data, 10));
  writer.write(part(wanted, data + 10, 14));
  writer.write(part(wanted, data + 32, 68));
  writer.write(part(wanted, data + 128, 6));
  writer.commit();
  EXPECT_EQ(hex_of(read_text(folder / "a.gguf")), kOfThePackage);
}

TEST(GgufWriter, RefusesWhatIsNotWhole) {
  const fixtures::Folder folder;
  const std::string zeros(256, '\0');
  {
    GgufWriter writer(folder / "a.gguf", some_keys(), some_tensors());
    EXPECT_THAT(fixtures::error_of([&] { writer.write(part(zeros, 0, 25)); }),
                HasSubstr("24 more bytes"));
    writer.write(part(zeros, 0, 24));
    EXPECT_THAT(fixtures::error_of([&] { writer.commit(); }),
                HasSubstr("second.weight: expected all its bytes, found 68 too few"));
  }
  EXPECT_EQ(folder.files(), 0U) << "nothing is left of a file that was not finished";
}

TEST(GgufWriter, RefusesWhatTheFormatCannotSay) {
  const fixtures::Folder folder;
  const auto problem = [&](const GgufKeys& keys, const std::vector<GgufTensor>& tensors) {
    return fixtures::error_of([&] { GgufWriter(folder / "a.gguf", keys, tensors); });
  };
  EXPECT_THAT(problem({{"a", true}, {"a", false}}, {}), HasSubstr("keys used once, found a"));
  EXPECT_THAT(problem({}, {{"a", {2}, GgufType::f32}, {"a", {2}, GgufType::f32}}),
              HasSubstr("tensor names used once, found a"));
  EXPECT_THAT(problem({}, {{"a", {1, 1, 1, 1, 1}, GgufType::f32}}), HasSubstr("four axes"));
  EXPECT_THAT(problem({}, {{"a", {2, 40}, GgufType::q4_0}}), HasSubstr("whole blocks of 32"));
  EXPECT_EQ(problem({}, {{"a", {2, 40}, GgufType::bf16}}), "");
}

}  // namespace
}  // namespace scute::gguf_writer_test
