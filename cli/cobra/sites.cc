// scute sites for Cobra: buckets, and the sites inside them.
#include "cli/sites.h"

#include <fmt/format.h>

#include "cli/form.h"
#include "scute/base/error.h"
#include "scute/cobra/folder.h"
#include "scute/cobra/percentile_config.h"
#include "scute/cobra/trace.h"

namespace scute::cli {
namespace {

struct CobraSitesRequest : SitesRequest {};

/// What a bucket of Cobra is: where it is taken, and how much of it a picture gives.
std::string bucket_words(const CobraDescription& model, const std::string& bucket) {
  const CobraConfig& config = model.config;
  for (const VisionConfig& tower : config.towers) {
    if (tower.bucket != bucket) continue;
    return fmt::format(
        "{} is what block {} of {} gives, the last one that is computed, without final norm and "
        "prefix tokens: {} patches × {} a picture, which the projector reads",
        bucket, tower.depth - 2, tower.depth, tower.patches(), tower.width);
  }
  const ProjectorConfig projector = config.projector_config();
  if (bucket == "projector") {
    return fmt::format(
        "projector is the projector's output, {} × {} a picture, which the language "
        "model reads before the text",
        projector.tokens(), projector.language);
  }
  return fmt::format(
      "llm is the text's token vectors as they are looked up, {} each (embedding:"
      "output of the language model)",
      projector.language);
}

/// A bucket with the sites inside it.
std::vector<Site> sites_of_bucket(const SiteList& list, const std::string& bucket,
                                  const std::string& model) {
  std::vector<Site> out = list.match(bucket, model);
  for (const Site& site : list.sites()) {
    if (site.name.starts_with(bucket + ".")) out.push_back(site);
  }
  return out;
}

/// The bucket that a person means, as --targets reads it; "" for none that the model has.
std::string bucket_meant(const SiteList& list, const std::string& name) {
  if (list.find(name) != nullptr && !is_bucket(name)) return "";
  try {
    std::string bucket = normalize_target(name);
    return list.find(bucket) == nullptr ? "" : bucket;
  } catch (const Error&) {
    return "";
  }
}

int run(CobraSitesRequest& request, const Call&, Output& out) {
  const CobraDescription model = describe_cobra(request.model);
  const SiteList list = CobraSites(model.config, model.language.scheme).list();
  const std::string bucket = request.find() ? bucket_meant(list, request.what[1]) : "";
  if (!bucket.empty()) {
    return explain_sites(list, request, bucket_words(model, bucket),
                         sites_of_bucket(list, bucket, request.model), out);
  }
  std::vector<StoredScale> scales;
  if (request.find() && model.low_bit) scales = trace_cobra(request.model).stored();
  return show_sites(list, scales, request, out);
}

}  // namespace

Form cobra_sites_form() {
  return form<CobraSitesRequest>(
      {.kind = ModelKind::cobra,
       .summary = "list the buckets and sites of a Cobra, or explain a name",
       .example = "scute sites tests/golden/cobra/model find vision.siglip"});
}

}  // namespace scute::cli
