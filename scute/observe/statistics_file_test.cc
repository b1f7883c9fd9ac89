#include "scute/observe/statistics_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <functional>
#include <limits>

#include "scute/base/error.h"
#include "scute/observe/distribution.h"
#include "scute/observe/test_data.h"

namespace scute::statistics_file_test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::ThrowsMessage;
using testing_data::draw;
using testing_data::families;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

Json meta_of(const std::string& windows, int64_t samples) {
  Json meta;
  meta["tool"] = "scute 0.1.0";
  meta["model_sha256"] = "abc";
  meta["seqlen"] = 64;
  meta["samples"] = samples;
  meta["tokens"] = samples * 64;
  meta["windows_sha256"] = windows;
  Json part;
  part["files"] = "corpus";
  part["windows"] = Json::Array{Json(windows)};
  meta["data"] = Json(Json::Array{part});
  meta["command"] = "collect " + windows;
  return meta;
}

StatisticsSet set_of(uint64_t seed, const std::string& windows) {
  StatisticsSet set;
  for (uint64_t i = 0; i < families().size(); ++i) {
    auto values = draw(families()[i], 3000, seed + i);
    if (i == 2) values.insert(values.end(), {kNan, kInf, -kInf, 0.0f, -0.0f, 1e-42f});
    set.sites.emplace("layer_" + std::to_string(i) + ".x_proj:input", statistic_of(values));
  }
  Statistic& some = set.sites.begin()->second;
  some.channel_absmax = {0.5f, std::max(-some.min, some.max)};
  some.channel_meanabs = {0.25f, 0.125f};
  some.element_absmax = {std::max(-some.min, some.max)};
  set.meta = meta_of(windows, 3);
  return set;
}

StatisticsSet read_back(const StatisticsSet& set) {
  return from_tensors(to_tensors(set), to_metadata(set), "x.safetensors");
}

/// Everything that ends in a file, as text.
std::string bytes_of(const StatisticsSet& set) {
  std::string out;
  for (const auto& [key, value] : to_metadata(set)) out += key + "=" + value + "\n";
  for (const NamedTensor& named : to_tensors(set)) {
    const auto bytes = named.tensor.bytes();
    out += named.name + to_string(named.tensor.shape());
    out.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  return out;
}

TEST(StatisticsFile, EverythingSurvivesARoundTrip) {
  const StatisticsSet set = set_of(1, "w1"), back = read_back(set);
  EXPECT_EQ(back.sites, set.sites);
  EXPECT_EQ(back.fine, set.fine);
  EXPECT_EQ(back.meta, set.meta);
  EXPECT_EQ(bytes_of(back), bytes_of(set));
}

TEST(StatisticsFile, EveryFineAndExtremeFloatsSurvive) {
  for (int fine = 1; fine <= 16; ++fine) {
    StatisticsSet set;
    set.fine = fine;
    set.sites.emplace("a",
                      statistic_of(std::vector<float>{1e-45f, -3.4028235e38f, 0.1f, -0.0f}, fine));
    set.sites.emplace("zero", statistic_of(std::vector<float>(3, -0.0f), fine));
    set.sites.emplace(
        "nan", statistic_of(std::vector<float>{kNan, std::bit_cast<float>(0x7f800001u)}, fine));
    set.sites.emplace("none", Statistic(fine));
    EXPECT_EQ(read_back(set).sites, set.sites) << fine;
  }
}

TEST(UserPain10, CountsBeyond53BitsSurvive) {
  StatisticsSet set;
  Statistic s = statistic_of(std::vector<float>{1.0f});
  const uint64_t many = (uint64_t{1} << 62) + 1;
  s.histogram.add(std::bit_cast<uint32_t>(1.0f) >> 15, many);
  s.count += many;
  set.sites.emplace("a", s);
  EXPECT_EQ(read_back(set).sites.at("a").count, many + 1);
}

using Tensors = std::vector<NamedTensor>;
using Metadata = std::map<std::string, std::string>;
using Change = std::function<void(Tensors&, Metadata&)>;

struct Damage {
  const char* name;
  Change apply;
  const char* said;
};

/// Damages the file of one site, 1, 2, 2, 0 at fine 8: ids of 0, 1, 2 with counts 1, 1, 2.
void expect_refused(const std::vector<Damage>& all) {
  StatisticsSet set;
  set.sites.emplace("s", statistic_of(std::vector<float>{1, 2, 2, 0}));
  for (const Damage& damage : all) {
    Tensors tensors = to_tensors(set);
    Metadata metadata = to_metadata(set);
    ASSERT_NO_THROW(from_tensors(tensors, metadata, "f"));
    damage.apply(tensors, metadata);
    EXPECT_THAT([&] { from_tensors(tensors, metadata, "f"); },
                ThrowsMessage<Error>(AllOf(HasSubstr("f"), HasSubstr(damage.said))))
        << damage.name;
  }
}

template <class T>
Change put(const std::string& name, const std::vector<T>& values) {
  return [=](Tensors& tensors, Metadata&) {
    const Tensor tensor = Tensor::of<T>({static_cast<int64_t>(values.size())}, values);
    for (NamedTensor& named : tensors) {
      if (named.name == name) {
        named.tensor = tensor;
        return;
      }
    }
    tensors.push_back({name, tensor});
  };
}
Change bins(const std::vector<int32_t>& ids) { return put("s/bins", ids); }
Change counts(const std::vector<int64_t>& values) { return put("s/counts", values); }

/// Changes the text of the member "sites".
Change edit(const std::string& from, const std::string& to) {
  return [=](Tensors&, Metadata& metadata) {
    std::string& text = metadata["sites"];
    const size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    text.replace(at, from.size(), to);
  };
}
Change set_key(const std::string& key, const std::string& value) {
  return [=](Tensors&, Metadata& metadata) { metadata[key] = value; };
}

TEST(StatisticsFile, EveryDamagedTensorIsNamed) {
  const int32_t one = 127 << 8, two = 128 << 8;
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  expect_refused({
      {"descending ids", bins({0, two, one}), "s/bins"},
      {"equal ids", bins({0, two, two}), "s/bins"},
      {"negative id", bins({-1, one, two}), "s/bins"},
      {"id beyond the table", bins({0, one, 1 << 17}), "s/bins"},
      {"zero count", counts({0, 2, 2}), "s/counts"},
      {"negative count", counts({-1, 3, 2}), "s/counts"},
      {"overflowing counts", counts({kMost, kMost, 6}), "s/counts"},
      {"wrong sum", counts({1, 1, 3}), "s/counts"},
      {"too few counts", counts({1, 3}), "s/counts"},
      {"wrong dtype", put<int32_t>("s/counts", {1, 1, 2}), "s/counts"},
      {"tensor left over", put<int32_t>("t/bins", {}), "t/bins"},
      {"tensor twice", [](Tensors& t, Metadata&) { t.push_back(t.front()); }, "twice"},
      {"absmax is not the extreme", put<float>("s/channel_absmax", {3}), "s/channel_absmax"},
      {"element absmax neither", put<float>("s/element_absmax", {1}), "s/element_absmax"},
      {"negative magnitude", put<float>("s/channel_meanabs", {-3}), "s/channel_meanabs"},
      {"no number", put<float>("s/channel_meanabs", {kNan}), "s/channel_meanabs"},
  });
}

TEST(StatisticsFile, EveryDamagedMemberIsNamed) {
  expect_refused({
      {"too many zeros", edit("\"zeros\":1", "\"zeros\":2"), "s/zeros"},
      {"too few zeros", edit("\"zeros\":1", "\"zeros\":0"), "s/zeros"},
      {"nans", edit("\"nans\":0", "\"nans\":1"), "s/nans"},
      {"infs", edit("\"infs\":0", "\"infs\":1"), "s/infs"},
      {"negative nans", edit("\"nans\":0", "\"nans\":-1"), "s/nans"},
      {"min above max", edit("\"min\":0.0", "\"min\":2.5"), "s/min"},
      {"min outside its bucket", edit("\"min\":0.0", "\"min\":-1.0"), "s/min"},
      {"max outside its bucket", edit("\"max\":2.0", "\"max\":2.5"), "s/max"},
      {"max no float", edit("\"max\":2.0", "\"max\":2.0000000001"), "s/max"},
      {"max infinite", edit("\"max\":2.0", "\"max\":Infinity"), "s/max"},
      {"bits_or", edit("\"bits_or\":2139095040", "\"bits_or\":0"), "s/bits_or"},
      {"bits_or too wide", edit("\"bits_or\":2139095040", "\"bits_or\":4294967296"), "s/bits_or"},
      {"no samples", edit("\"samples\":1", "\"samples\":0"), "s/samples"},
      {"too many samples", edit("\"samples\":1", "\"samples\":5"), "s/samples"},
      {"missing member", edit("\"count\"", "\"cont\""), "count"},
      {"missing tensor", edit("\"s\"", "\"other\""), "other/bins"},
      {"another format", set_key("format", "pt"), "scute-statistics"},
      {"another version", set_key("version", "2"), "version"},
      {"fine 0", set_key("fine", "0"), "fine"},
      {"fine with words", set_key("fine", "8 bits"), "fine"},
      {"sites no JSON", set_key("sites", "{"), "sites"},
      {"sites no object", set_key("sites", "[]"), "an object"},
  });
}

TEST(StatisticsFile, AFewBytesCannotAskForGigabytes) {
  // 510 pages of 2^16 counters are 267 MB a site; the file would be 200 kB.
  std::vector<int32_t> ids;
  for (int32_t page = 1; page < 255; ++page) ids.push_back(page << 16);
  for (int32_t page = 256; page < 511; ++page) ids.push_back(page << 16);
  const std::vector<int64_t> counts(ids.size(), 1);
  std::vector<NamedTensor> tensors;
  Json sites;
  for (int i = 0; i < 40; ++i) {
    const std::string name = "s" + std::to_string(i);
    const auto n = static_cast<int64_t>(ids.size());
    tensors.push_back({name + "/bins", Tensor::of<int32_t>({n}, ids)});
    tensors.push_back({name + "/counts", Tensor::of<int64_t>({n}, counts)});
    Json& s = sites[name];
    s["count"] = n;
    for (const char* key : {"zeros", "nans", "infs"}) s[key] = 0;
    s["zeros"] = 1;
    s["samples"] = 1;
    s["bits_or"] = int64_t{0xff800000};
    s["min"] = -0x1p127;
    s["max"] = 0x1p127;
  }
  EXPECT_THAT(
      [&] {
        from_tensors(tensors,
                     {{"format", "scute-statistics"},
                      {"version", "1"},
                      {"fine", "16"},
                      {"sites", sites.dump()},
                      {"meta", "null"}},
                     "bomb");
      },
      ThrowsMessage<Error>(AllOf(HasSubstr("bomb"), HasSubstr("size"))));
}

TEST(UserPain20, MergingInAnyOrderAndGroupingGivesTheSameBytes) {
  const StatisticsSet a = set_of(1, "w1"), b = set_of(50, "w2"), c = set_of(99, "w3");
  const auto merged = [](std::vector<StatisticsSet> sets) {
    StatisticsSet out = sets.front();
    for (size_t i = 1; i < sets.size(); ++i) merge(out, sets[i]);
    return out;
  };
  const StatisticsSet abc = merged({a, b, c});
  EXPECT_EQ(bytes_of(merged({c, b, a})), bytes_of(abc));
  EXPECT_EQ(bytes_of(merged({a, merged({c, b})})), bytes_of(abc));
  EXPECT_EQ(bytes_of(merged({merged({b, a}), c})), bytes_of(abc));
  EXPECT_EQ(abc.meta.at("samples", "").as_int(""), 9);
  EXPECT_EQ(abc.meta.at("tokens", "").as_int(""), 9 * 64);
  EXPECT_EQ(abc.meta.at("data", "").as_array("").size(), 3u);
  EXPECT_EQ(abc.meta.at("model_sha256", "").as_string(""), "abc");
  EXPECT_EQ(abc.meta.find("command"), nullptr) << "differs, so it is found in parts";
  EXPECT_EQ(abc.meta.at("parts", "").as_array("").size(), 3u);
  EXPECT_EQ(read_back(abc).sites, abc.sites);
}

TEST(Merge, TheSameDataTwiceIsRefusedUnlessAllowed) {
  const StatisticsSet a = set_of(1, "w1");
  StatisticsSet all = a;
  merge(all, set_of(2, "w2"));
  const std::string before = bytes_of(all);
  EXPECT_THAT([&] { merge(all, a); }, ThrowsMessage<Error>(HasSubstr("w1")));
  EXPECT_EQ(bytes_of(all), before) << "nothing merged";
  merge(all, a, Repeats::allow);
  EXPECT_EQ(all.meta.at("samples", "").as_int(""), 9);

  StatisticsSet one = a, overlapping = set_of(3, "w3");
  overlapping.meta["data"] = Json::array();
  Json part;
  part["files"] = "corpus";
  part["windows"] = Json::Array{Json("w9"), Json("w1")};
  overlapping.meta["data"].push_back(part);
  EXPECT_THAT([&] { merge(one, overlapping); },
              ThrowsMessage<Error>(HasSubstr("the window \"w1\"")));
}

TEST(Merge, SaysWhatDiffers) {
  const auto refused = [](const std::function<void(StatisticsSet&)>& change, const char* said) {
    StatisticsSet a = set_of(1, "w1"), b = set_of(2, "w2");
    change(b);
    EXPECT_THAT([&] { merge(a, b); }, ThrowsMessage<Error>(HasSubstr(said)));
    StatisticsSet c = set_of(1, "w1");
    EXPECT_THAT([&] { merge(b, c); }, ThrowsMessage<Error>(HasSubstr(said)));
  };
  refused([](auto& s) { s.meta["model_sha256"] = "other"; }, "model_sha256");
  refused([](auto& s) { s.meta["seqlen"] = 65; }, "seqlen");
  refused([](auto& s) { s.meta["observer"] = "ema"; }, "observer");
  refused([](auto& s) { s.sites.erase("layer_1.x_proj:input"); }, "layer_1.x_proj:input");
  refused([](auto& s) { s.sites.begin()->second.channel_absmax.clear(); }, "channel_absmax");
  StatisticsSet a = set_of(1, "w1"), fine;
  fine.fine = 7;
  EXPECT_THAT([&] { merge(a, fine); }, ThrowsMessage<Error>(HasSubstr("fine")));
}

TEST(Merge, StepsMayBeMissingInOne) {
  StatisticsSet a = set_of(1, "w1"), b = set_of(2, "w2");
  b.sites.emplace("layer_0.ssm_state_act:steps", statistic_of(std::vector<float>{1}));
  merge(a, b);
  EXPECT_EQ(a.sites.at("layer_0.ssm_state_act:steps").count, 1u);
}

TEST(PercentileTable, HasTheKeysOfTheFieldInOrder) {
  std::vector<float> values;
  for (int i = 1; i <= 100000; ++i) values.push_back(static_cast<float>(i));
  const auto table = percentile_table(statistic_of(values, 16));
  std::vector<std::string> keys;
  for (const auto& [key, value] : table) {
    keys.push_back(key);
    // Rank = percent·1000 of 100000; half a bucket at fine 16 is 2^-17.
    const double wanted = std::stod(key.substr(1)) * 1000;
    EXPECT_NEAR(value, wanted, wanted * 0x1p-17) << key;
  }
  EXPECT_THAT(keys,
              testing::ElementsAre("p0.001", "p0.01", "p0.1", "p1.0", "p10.0", "p25.0", "p50.0",
                                   "p75.0", "p90.0", "p99.0", "p99.9", "p99.99", "p99.999"));
  EXPECT_TRUE(percentile_table(statistic_of(std::vector<float>{kNan})).empty());
}

}  // namespace
}  // namespace scute::statistics_file_test
