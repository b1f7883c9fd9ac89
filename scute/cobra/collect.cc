#include "scute/cobra/collect.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "scute/base/checked.h"
#include "scute/base/error.h"
#include "scute/base/names.h"
#include "scute/cobra/collect_meta.h"
#include "scute/cobra/collect_pass.h"
#include "scute/cobra/picture_reader.h"

namespace scute {
namespace {

MeasureOptions measure_options(const CobraCollectOptions& options) {
  // Rounded up, so that a batch keeps at least what was asked for of each picture.
  const int64_t share =
      (options.max_samples_per_batch + options.batch_size - 1) / options.batch_size;
  return {.fine = options.fine,
          .per_channel = options.per_channel,
          .state_every = options.state_every,
          .most_values = share,
          .seed = options.text.seed};
}

void check(const CobraCollectOptions& options) {
  require_at_least("--batches", options.batches, 1);
  require_at_least("--batch-size", options.batch_size, 1);
  require_at_least("--max-samples-per-batch", options.max_samples_per_batch, 0);
  if (options.per_channel && options.max_samples_per_batch > 0) {
    fail("--max-samples-per-batch", "no --per-channel, which needs every value", "both");
  }
}

/// A bucket that nothing of this model is: which there are, why, and what to do.
[[noreturn]] void refuse_target(const CobraDescription& model, const SiteList& list,
                                const std::string& target) {
  std::vector<std::string> there;
  for (const std::string& bucket : bucket_names()) {
    if (list.find(bucket) != nullptr) there.push_back(bucket);
  }
  const Json* id = model.json.at("model", model.path).find("vision_backbone_id");
  fail("--targets " + target,
       fmt::format("a bucket that {} has: {}", model.name, joined(there, ", ")),
       fmt::format("none{}; its vision backbone is {}. Leave it out of --targets, or look with "
                   "scute sites {} find NAME",
                   did_you_mean(target, there), id->dump(), model.path));
}

/// What is measured of a part; see PartWork.
PartWork part_work(const CobraDescription& model, const CobraCollectOptions& options,
                   const PartRequest& part) {
  if (!part.any()) return PartWork(part, "");
  return PartWork(part,
                  cobra_collection_key(hash_cobra(model),
                                       hash_tokenizer(model.language, options.text.input.tokenizer),
                                       hash_pictures(options.images), options));
}

struct OwnPicture {
  size_t ordinal;  ///< among the pictures of the whole collection
  PictureReader::Loaded picture;
};

/// The next that are to be measured, some more than `together` at most, none at the end; adds the
/// numbers of all that are passed to `counted`, which are `wanted` at most.
std::vector<OwnPicture> next_own(PictureReader& reader, const PartWork& work, int64_t wanted,
                                 int64_t together, const Threads& threads,
                                 std::vector<int64_t>& counted) {
  std::vector<OwnPicture> out;
  while (std::ssize(out) < together) {
    auto loaded = reader.next_few(wanted - std::ssize(counted), threads);
    if (loaded.empty()) break;
    for (PictureReader::Loaded& one : loaded) {
      const size_t ordinal = counted.size();
      counted.push_back(one.number);
      if (work.takes(static_cast<int64_t>(ordinal))) out.push_back({ordinal, std::move(one)});
    }
  }
  return out;
}

}  // namespace

std::vector<Site> cobra_collection_sites(const CobraDescription& model,
                                         const CobraCollectOptions& options) {
  const SiteList list = CobraSites(model.config, model.language.scheme).list();
  std::vector<bool> chosen(list.sites().size(), false);
  const auto choose = [&](const Site& site) { chosen[static_cast<size_t>(site.index)] = true; };
  const bool all = options.targets == bucket_names();
  for (const std::string& target : options.targets) {
    if (list.find(target) == nullptr) {
      if (all) continue;  // a model with one tower
      refuse_target(model, list, target);
    }
    for (const Site& site : list.sites()) {
      if (site.index >= 0 && inside_bucket(site.name, target)) choose(site);
    }
  }
  if (!options.sites.empty()) {
    for (const Site& site : list.match(options.sites, "--sites")) {
      if (options.state_every > 0 || site.extent != Site::Extent::per_step) choose(site);
    }
  }
  std::vector<Site> out = list.sites();
  std::erase_if(out, [&](const Site& site) {
    return site.index < 0 || !chosen[static_cast<size_t>(site.index)];
  });
  return out;
}

CobraCollectResult collect_cobra(const CobraDescription& description,
                                 const CobraCollectOptions& options, const PassControl& control,
                                 const PartRequest& part) {
  check(options);
  PartWork work = part_work(description, options, part);
  CobraCollectResult result;
  if (work.was_complete(result)) return result;
  const std::vector<Site> sites = cobra_collection_sites(description, options);
  PictureReader reader(description, options.images);
  result.listed = reader.listed();
  const PictureTexts texts(description, options.text, result.listed);
  result.bad_lines = texts.bad_lines();
  CobraPass pass(description, sites, options.compute, control.by_layers);
  if (pass.needs().blocks && !texts.any()) {
    fail("--sites",
         "text for the language model: --prompts FILE, or random ids (no --no-random-text)",
         "none");
  }

  const int64_t wanted =
      checked_mul(options.batches, options.batch_size, "--batches × --batch-size");
  const int64_t most = std::min(wanted, result.listed);
  Measurement measurement(sites, measure_options(options), control, work.left(most));
  const auto meta = [&] {
    return cobra_collection_meta(description, options, result, reader.used(), texts);
  };
  work.begin(measurement, most, options.fine, meta);
  std::vector<int64_t> counted;  // numbers of the pictures of the collection
  while (!measurement.interrupted()) {
    const std::vector<OwnPicture> own = next_own(
        reader, work, wanted, pass.together(measurement.threads()), measurement.threads(), counted);
    if (own.empty()) break;
    std::vector<CobraSample> samples;
    for (const OwnPicture& one : own) {
      const PictureReader::Loaded& picture = one.picture;
      samples.push_back({picture.number, &picture.pixels, texts.of(picture.number)});
    }
    const int64_t finished = pass.measure(measurement, samples);
    work.add(finished);
    result.measured += finished;
    if (measurement.interrupted()) {
      const size_t first = own[static_cast<size_t>(finished)].ordinal;
      reader.forget(static_cast<int64_t>(counted.size() - first));
      counted.resize(first);
    }
  }
  result.pictures = std::ssize(counted);
  if (pass.needs().text) {
    for (const int64_t number : counted) result.text_tokens += std::ssize(texts.of(number));
  }
  result.corrupt = reader.corrupt();
  result.unused = reader.left();
  reader.require_one();
  work.finish(result, measurement.interrupted() ? most : result.pictures);
  return result;
}

}  // namespace scute
