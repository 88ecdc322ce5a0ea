/* The launches of a run. One by one, or, with HMOE_DEVICE_GRAPHS, recorded and launched as one graph:
 *
 *   first run            capture -> instantiate -> launch
 *   those that follow    capture -> update what there is with the new arguments and grids -> launch
 *
 * Every run is captured: its arguments (lengths, addresses) are its own, and to record a launch costs a fraction of making one. A graph that is of another
 * shape (another entry, the other way of a CHOOSE) cannot be updated to this one, which is instantiated then. The workspace keeps the latest. Copies
 * between the host and the device are not in it: memory of the caller's is not pinned. */
#include "cuda/cuda.h"

static void drop_graph(const hmoe_cuda_driver *driver, hmoe_cuda_workspace *own) {
  if (own->graph) driver->cuGraphExecDestroy(own->graph);
  own->graph = NULL;
}

hmoe_status hmoe_cuda_steps_begin(hmoe_run *run) {
  const hmoe_cuda_model *own = hmoe_cuda_own(run->model);
  hmoe_cuda_workspace *workspace = run->workspace->own;
  workspace->launches = own->graphs ? workspace->stream : workspace->ordered;
  workspace->follows = false;
  workspace->latest = NULL;
  workspace->grouped = NULL;
  HMOE_TRY(hmoe_cuda_take_caches(run));
  if (!own->graphs) return HMOE_OK;
  CUresult result = own->driver->cuStreamBeginCapture(workspace->stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
  if (result == CUDA_SUCCESS) return HMOE_OK;
  return hmoe_cuda_leave_caches(run, hmoe_cuda_failed(own->driver, "cuStreamBeginCapture", NULL, result));
}

/* Makes the workspace's graph the one that was captured. */
static hmoe_status take_graph(const hmoe_cuda_driver *driver, hmoe_cuda_workspace *own, CUgraph graph) {
  CUgraphNode node = NULL;
  int why = 0;
  if (own->graph && driver->cuGraphExecUpdate(own->graph, graph, &node, &why) == CUDA_SUCCESS) return HMOE_OK;
  drop_graph(driver, own); /* whatever could not be updated is of no use any more */
  CUresult result = driver->cuGraphInstantiate(&own->graph, graph, 0);
  if (result == CUDA_SUCCESS) return HMOE_OK;
  own->graph = NULL;
  return hmoe_cuda_failed(driver, "cuGraphInstantiateWithFlags", NULL, result);
}

static hmoe_status launch_graph(const hmoe_run *run, hmoe_status status) {
  const hmoe_cuda_model *model = hmoe_cuda_own(run->model);
  const hmoe_cuda_driver *driver = model->driver;
  hmoe_cuda_workspace *own = run->workspace->own;
  CUgraph graph = NULL;
  if (!model->graphs) return status;
  CUresult result = driver->cuStreamEndCapture(own->stream, &graph);
  if (status == HMOE_OK && result != CUDA_SUCCESS) status = hmoe_cuda_failed(driver, "cuStreamEndCapture", NULL, result);
  if (status == HMOE_OK) status = take_graph(driver, own, graph);
  if (result == CUDA_SUCCESS && graph) driver->cuGraphDestroy(graph);
  if (status == HMOE_OK) HMOE_CUDA_TRY(driver, cuGraphLaunch, own->graph, own->ordered);
  return status;
}

hmoe_status hmoe_cuda_steps_end(hmoe_run *run, hmoe_status status) {
  return hmoe_cuda_leave_caches(run, launch_graph(run, status));
}
