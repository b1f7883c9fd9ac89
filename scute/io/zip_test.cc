#include "scute/io/zip.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "scute/io/npy.h"
#include "scute/io/testing.h"

namespace scute::zip_test {
namespace {

using fixtures::bytes_of;
using fixtures::error_of;
using fixtures::Folder;
using fixtures::get;
using fixtures::little;
using fixtures::put;
using ::testing::HasSubstr;

std::string archive(const Folder& folder, int64_t zip64_from) {
  AtomicFile file(folder / "a.zip");
  ZipWriter zip(file, zip64_from);
  zip.add("first", bytes_of("hello"));
  zip.add("dir/second", bytes_of(std::string(100, 'x')));
  zip.add("empty", {});
  zip.finish();
  file.commit();
  return get(folder / "a.zip");
}
constexpr int64_t kPlain = UINT32_MAX;  // no ZIP64 record in a small archive
constexpr int64_t kAlways64 = 0;

std::string refusal(std::string_view file) {
  return error_of([&] { parse_zip(bytes_of(file), "f"); });
}
/// `file` with the bytes at `at` replaced.
std::string patched(std::string file, size_t at, std::string_view bytes) {
  return file.replace(at, bytes.size(), bytes);
}

class ZipEitherWay : public ::testing::TestWithParam<int64_t> {};
INSTANTIATE_TEST_SUITE_P(Plain, ZipEitherWay, ::testing::Values(kPlain));
INSTANTIATE_TEST_SUITE_P(Zip64, ZipEitherWay, ::testing::Values(kAlways64, 1, 100, 128, 200));

TEST_P(ZipEitherWay, WrittenEntriesAreFoundAlignedAndWhole) {
  const Folder folder;
  archive(folder, GetParam());
  const ZipReader zip(folder / "a.zip");
  ASSERT_EQ(zip.entries().size(), 3u);
  EXPECT_EQ(zip.find("absent"), nullptr);
  for (const ZipEntry& entry : zip.entries()) {
    EXPECT_EQ(entry.offset % 64, 0) << entry.name;
    const Tensor bytes = zip.read(entry);
    EXPECT_EQ(crc32(bytes.bytes()), entry.crc) << entry.name;
  }
  const Tensor hello = zip.read(*zip.find("first"));
  EXPECT_TRUE(std::ranges::equal(hello.bytes(), bytes_of("hello")));
}

TEST_P(ZipEitherWay, EveryTruncationIsRefused) {
  const Folder folder;
  const std::string whole = archive(folder, GetParam());
  ASSERT_EQ(refusal(whole), "");
  for (size_t length = 0; length < whole.size(); ++length) {
    EXPECT_NE(refusal(std::string_view(whole).substr(0, length)), "") << length;
  }
}

TEST_P(ZipEitherWay, NoChangedByteReachesOutsideTheFile) {
  const Folder folder;
  const std::string whole = archive(folder, GetParam());
  for (size_t at = 0; at < whole.size(); ++at) {
    for (const char value : {'\0', '\x7f', '\xff'}) {
      const std::string file = patched(whole, at, std::string(1, value));
      try {
        for (const ZipEntry& entry : parse_zip(bytes_of(file), "f")) {
          EXPECT_GE(entry.offset, 0);
          EXPECT_LE(entry.offset + entry.packed, static_cast<int64_t>(file.size()));
          EXPECT_LE(entry.size, 1032 * entry.packed + 1031);
        }
      } catch (const Error&) {
      }
    }
  }
}

TEST(Zip, Crc32IsTheUsualOne) { EXPECT_EQ(crc32(bytes_of("123456789")), 0xcbf43926u); }

TEST(Zip, AcceptsACommentAndAnEmptyArchive) {
  const std::string end = "PK\5\6" + std::string(16, '\0') + little(uint16_t{3}) + "abc";
  EXPECT_EQ(refusal(end), "");
  EXPECT_NE(refusal(end + "d"), "");
  EXPECT_THAT(refusal("not a zip archive, but text"), HasSubstr("a zip archive"));
}

TEST(Zip, RefusesEntriesThatOverlap) {
  const Folder folder;
  // The data of "a" is a copy of the record "b": header of 64 - 2 bytes, then 2 bytes.
  const auto write = [&](const std::string& data) {
    AtomicFile out(folder / "a.zip");
    ZipWriter zip(out);
    zip.add("b", bytes_of("hi"));
    zip.add("a", bytes_of(data));
    zip.finish();
    out.commit();
    return get(folder / "a.zip");
  };
  const std::string record = write("").substr(0, 66);
  const std::string file = write(record);
  ASSERT_EQ(refusal(file), "");
  const size_t inside_a = file.find(record, 1);
  ASSERT_NE(inside_a, std::string::npos);
  const size_t entry_b = file.find("PK\1\2");
  EXPECT_THAT(refusal(patched(file, entry_b + 42, little(static_cast<uint32_t>(inside_a)))),
              HasSubstr("overlap"));
}

TEST(Zip, RefusesStoredDataBeyondTheDirectory) {
  const Folder folder;
  const std::string file = archive(folder, kPlain);
  const size_t entry = file.find("PK\1\2");
  const std::string size = little(static_cast<uint32_t>(file.size() - 64));
  EXPECT_THAT(refusal(patched(patched(file, entry + 20, size), entry + 24, size)),
              HasSubstr("bytes of data"));
}

TEST(Zip, RefusesNamesUsedTwice) {
  const Folder folder;
  AtomicFile out(folder / "a.zip");
  ZipWriter zip(out);
  zip.add("a", bytes_of("1"));
  zip.add("a", bytes_of("2"));
  zip.finish();
  out.commit();
  EXPECT_THAT(error_of([&] { ZipReader reader(folder / "a.zip"); }), HasSubstr("once"));
}

TEST(Zip, RefusesHostileZip64Fields) {
  const Folder folder;
  const std::string file = archive(folder, kAlways64);
  const size_t end64 = file.find("PK\6\6");
  const size_t locator = file.find("PK\6\7");
  const size_t entry = file.find("PK\1\2");
  const size_t extra = entry + 46 + 5 + 4;  // past the name "first" and the field's head
  for (const uint64_t value :
       {UINT64_MAX, uint64_t{1} << 63, uint64_t{INT64_MAX}, uint64_t{5000}}) {
    const std::string bytes = little(value);
    EXPECT_NE(refusal(patched(file, end64 + 32, bytes)), "") << "count " << value;
    EXPECT_NE(refusal(patched(file, end64 + 40, bytes)), "") << "directory size " << value;
    EXPECT_NE(refusal(patched(file, end64 + 48, bytes)), "") << "directory offset " << value;
    EXPECT_NE(refusal(patched(file, locator + 8, bytes)), "") << "end record " << value;
    EXPECT_NE(refusal(patched(file, extra, bytes)), "") << "size " << value;
    EXPECT_NE(refusal(patched(file, extra + 8, bytes)), "") << "packed " << value;
    EXPECT_NE(refusal(patched(file, extra + 16, bytes)), "") << "header " << value;
  }
  EXPECT_NE(refusal(patched(file, extra - 2, little(uint16_t{8}))), "");  // a field too short
}

TEST(Zip, RefusesEncryptionOtherMethodsAndOtherNames) {
  const Folder folder;
  const std::string file = archive(folder, kPlain);
  const size_t entry = file.find("PK\1\2");
  EXPECT_THAT(refusal(patched(file, entry + 8, "\1")), HasSubstr("encrypted"));
  EXPECT_THAT(refusal(patched(file, entry + 10, "\x0e")), HasSubstr("method 14"));
  EXPECT_THAT(refusal(patched(file, entry + 46, "F")), HasSubstr("name"));
  EXPECT_NE(refusal(patched(file, 0, "XX")), "");
}

TEST(Zip, RefusesSizesThatDeflateCannotReach) {
  const Folder folder;
  std::string file = archive(folder, kPlain);
  const size_t entry = file.find("PK\1\2");
  file = patched(file, entry + 10, "\x08");  // "first" is deflated now, 5 bytes
  EXPECT_EQ(refusal(patched(file, entry + 24, little(uint32_t{5 * 1032}))), "");
  EXPECT_THAT(refusal(patched(file, entry + 24, little(uint32_t{1} << 30))),
              HasSubstr("1073741824 bytes"));
}

TEST(Zip, RefusesABombBeforeItIsUnpacked) {
  const Folder folder;
  // Zeros shrink a thousandfold: fine in arrays of usual size.
  write_npz(folder / "small.npz", {{"x", Tensor(DType::f32, {1 << 20})}});
  EXPECT_EQ(read_npz(folder / "small.npz").size(), 1u);
  write_npz(folder / "bomb.npz",
            {{"x", Tensor(DType::f32, {10 << 20})}, {"y", Tensor(DType::f32, {10 << 20})}});
  ASSERT_LT(get(folder / "bomb.npz").size(), 200000u);
  EXPECT_THAT(
      error_of([&] { read_npz(folder / "bomb.npz"); }),
      HasSubstr("entry y.npy: expected at most 100 unpacked bytes for each packed one beyond "
                "64 MB, found 83886"));
}

TEST(Zip, DamagedDeflatedDataIsAnError) {
  const Folder folder;
  std::vector<float> values(1000);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i * i % 97);
  write_npz(folder / "a.npz", {{"x", fixtures::floats({1000}, values)}});
  const std::string file = get(folder / "a.npz");
  const ZipEntry entry = parse_zip(bytes_of(file), "f").at(0);
  ASSERT_FALSE(entry.stored);
  int64_t refused = 0;
  for (int64_t at = 0; at < entry.packed; ++at) {
    std::string damaged = file;
    damaged[static_cast<size_t>(entry.offset + at)] ^= 1;
    put(folder / "b.npz", damaged);
    try {  // a bit that inflate never looks at may change
      EXPECT_EQ(fixtures::elements<float>(read_npz(folder / "b.npz").at(0).tensor), values);
    } catch (const Error&) {
      ++refused;
    }
  }
  EXPECT_GE(refused, entry.packed - 2);
}

}  // namespace
}  // namespace scute::zip_test
