// scute sites for regressors.
#include "cli/sites.h"

#include "cli/form.h"
#include "scute/regressor/collect.h"

namespace scute::cli {
namespace {

struct RegressorSitesRequest : SitesRequest {};

int run(RegressorSitesRequest& request, const Call&, Output& out) {
  const RegressorCheckpoint checkpoint = read_regressor_checkpoint(request.model);
  return show_sites(list_regressor_sites(checkpoint.config), {}, request, out);
}

}  // namespace

Form regressor_sites_form() {
  return form<RegressorSitesRequest>(
      {.kind = ModelKind::regressor,
       .example = "scute sites tests/golden/regressor/slim.pt 'blocks.0.*'"});
}

}  // namespace scute::cli
